//! How the process ends: one value that everything watches.

use tokio::sync::watch;

/// What the process is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Phase {
    /// Accepting and serving.
    #[default]
    Serving,
    /// No longer accepting; living flows are finished.
    Draining,
    /// Living flows are reset now.
    Stopping,
}

/// Moves the process from phase to phase; phases only go forward.
#[derive(Debug)]
pub struct Control(watch::Sender<Phase>);

/// Sees the phase.
#[derive(Debug, Clone)]
pub struct Drain(watch::Receiver<Phase>);

/// A control in [`Phase::Serving`], and what watches it.
#[must_use]
pub fn new() -> (Control, Drain) {
    let (sender, receiver) = watch::channel(Phase::Serving);
    (Control(sender), Drain(receiver))
}

impl Control {
    /// Goes on to `phase`, unless the process is further already.
    pub fn advance(&self, phase: Phase) {
        self.0.send_if_modified(|now| {
            let further = phase > *now;
            if further {
                *now = phase;
            }
            further
        });
    }
}

impl Drain {
    /// What the process is doing now.
    #[must_use]
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// Waits until the process has reached `phase`; at once if it is further already, or if
    /// nobody controls it any more.
    pub async fn reached(&mut self, phase: Phase) {
        // An error means that the control is gone: the process is ending.
        let _ = self.0.wait_for(|now| *now >= phase).await;
    }
}

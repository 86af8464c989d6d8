//! SIGINT, SIGTERM and SIGHUP while something has to be put right before this program ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, bail};
use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// The signals that ask a program to end.
pub(crate) const ENDING: [i32; 3] = [SIGHUP, SIGINT, SIGTERM];

/// While it lives, a signal that asks this program to end is only remembered. A terminal sends
/// SIGINT to the children as well, which is what ends the work.
pub(crate) struct Held {
    seen: Arc<AtomicBool>,
    ids: Vec<SigId>,
}

impl Held {
    /// Starts holding.
    ///
    /// # Errors
    ///
    /// If a handler cannot be set.
    pub(crate) fn new() -> Result<Self> {
        let seen = Arc::new(AtomicBool::new(false));
        let ids = ENDING
            .into_iter()
            .map(|signal| signal_hook::flag::register(signal, Arc::clone(&seen)))
            .collect::<Result<_, _>>()?;
        Ok(Self { seen, ids })
    }

    /// Stops holding.
    ///
    /// # Errors
    ///
    /// If a signal came meanwhile.
    pub(crate) fn release(self) -> Result<()> {
        if self.seen.load(Ordering::SeqCst) {
            bail!("interrupted");
        }
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        for id in self.ids.drain(..) {
            signal_hook::low_level::unregister(id);
        }
    }
}

//! Takes turns at the cryptography of handshakes: of all that wait on a worker, one does a step,
//! then every other task of the worker that is ready gets to run before the next one does.
//!
//! A step costs up to a millisecond (an RSA signature). Without this a burst of a thousand new
//! clients would hold up the flows of the same worker for all of their steps together.

use tokio::sync::{Semaphore, SemaphorePermit};

/// The queue of one worker.
#[derive(Debug)]
pub struct Turns(Semaphore);

impl Default for Turns {
    fn default() -> Self {
        Self(Semaphore::new(1))
    }
}

impl Turns {
    /// Waits until it is the caller's turn.
    pub async fn take(&self) -> Turn<'_> {
        // The queue is never closed.
        Turn(self.0.acquire().await.ok())
    }
}

/// The right to do one step.
#[derive(Debug)]
pub struct Turn<'a>(Option<SemaphorePermit<'a>>);

impl Turn<'_> {
    /// Gives the turn to the next one, after everything else that is ready on this worker. Others
    /// that are ready for a step may not have asked yet, so this does not look whether any wait.
    pub async fn pass(self) {
        tokio::task::yield_now().await;
        drop(self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::rc::Rc;

    #[tokio::test(flavor = "current_thread")]
    async fn other_tasks_run_between_any_two_steps() {
        let turns = Rc::new(Turns::default());
        let log = Rc::new(RefCell::new(Vec::new()));
        let local = tokio::task::LocalSet::new();
        for _ in 0..8 {
            let (turns, log) = (turns.clone(), log.clone());
            local.spawn_local(async move {
                for _ in 0..4 {
                    let turn = turns.take().await;
                    log.borrow_mut().push("step");
                    turn.pass().await;
                }
            });
        }
        let flow = log.clone();
        local.spawn_local(async move {
            for _ in 0..64 {
                flow.borrow_mut().push("flow");
                tokio::task::yield_now().await;
            }
        });
        local.await;
        let log = log.borrow();
        assert_eq!(log.iter().filter(|what| **what == "step").count(), 32);
        let together = log
            .windows(2)
            .filter(|pair| pair == &["step", "step"])
            .count();
        assert_eq!(together, 0, "{log:?}");
    }
}

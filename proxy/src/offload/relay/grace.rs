//! Waiting until the programs' first look at a flow is the first look of all.
//!
//! A packet that passed the programs before a flow's keys were there may reach its socket only later,
//! on another CPU: nobody would have noted what it brings. Such packets are handled, once all that ran
//! on any CPU when the keys came has ended; one thread waits for that, for all flows that came
//! meanwhile at once.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::offload::slots::{Happened, Slots};
use crate::sys::rcu;

/// True once everything that a flow's sockets get has been seen by the programs.
pub type IsNoted = Arc<AtomicBool>;

/// The thread that waits; it ends when this is dropped.
#[derive(Debug)]
pub struct Grace {
    asked: Mutex<Option<Sender<(u32, IsNoted)>>>,
    thread: Option<JoinHandle<()>>,
}

impl Grace {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the kernel gives no thread.
    pub(super) fn start(slots: Arc<Slots>) -> io::Result<Self> {
        let (asked, asking) = mpsc::channel::<(u32, IsNoted)>();
        let thread = std::thread::Builder::new()
            .name("relay-grace".into())
            .spawn(move || {
                while let Ok(first) = asking.recv() {
                    let all: Vec<_> = std::iter::once(first).chain(asking.try_iter()).collect();
                    rcu::wait_for_programs();
                    for (slot, is_noted) in all {
                        is_noted.store(true, Ordering::Release);
                        // Only wakes its task, or that of who has the slot by now.
                        slots.notify(slot * 2, Happened::empty());
                    }
                }
            })?;
        Ok(Self {
            asked: Mutex::new(Some(asked)),
            thread: Some(thread),
        })
    }

    /// What becomes true, and the task of `slot` is woken, once the programs have seen all that its
    /// sockets get. Call when its keys are there.
    pub(super) fn ask(&self, slot: u32) -> IsNoted {
        let is_noted = IsNoted::default();
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(asked) = &*asked {
            // The thread lives as long as this.
            let _ = asked.send((slot, is_noted.clone()));
        }
        is_noted
    }
}

impl Drop for Grace {
    fn drop(&mut self) {
        drop(
            self.asked
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by its own hook.
            let _ = thread.join();
        }
    }
}

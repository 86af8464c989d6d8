//! Ctrl-C and SIGTERM: end the run after the current measurement, clean up, keep what was measured.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};

/// Set by the first signal.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Begins to listen. A second signal ends the program at once; its children then die with it, and its namespaces
    /// are removed by the next run.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub(crate) fn listen() -> Result<Self> {
        let interrupt = Self::default();
        let seen = interrupt.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .context("runtime for signals")?;
        let (mut int, mut term) = {
            let _guard = runtime.enter();
            (
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
            )
        };
        thread::spawn(move || {
            runtime.block_on(async {
                loop {
                    tokio::select! {
                        _ = int.recv() => {}
                        _ = term.recv() => {}
                    }
                    if seen.0.swap(true, Ordering::Relaxed) {
                        std::process::exit(i32::from(crate::INTERRUPTED));
                    }
                    eprintln!("stopping after this measurement; once more to stop at once");
                }
            });
        });
        Ok(interrupt)
    }

    /// Whether a signal came.
    pub(crate) fn requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

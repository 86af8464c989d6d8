//! What runs beside the workers, on a thread of its own: the runtime API, health checks, names.

pub mod commands;
pub mod farewell;
pub mod operator;
pub mod sections;
pub mod socket;
pub mod stat;

use std::io;
use std::rc::Rc;
use std::thread::JoinHandle;

use tokio::task::LocalSet;

use crate::backend::{health, names};
use crate::drain::{Drain, Phase};
use operator::Operator;
use socket::ApiListeners;

/// Starts the thread. It ends when the process stops, or has drained.
///
/// # Errors
/// When the thread or its runtime cannot be made.
pub fn start(
    operator: Operator,
    listeners: ApiListeners,
    mut drain: Drain,
) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::Builder::new()
        .name("admin".into())
        .spawn(move || {
            let local = LocalSet::new();
            let operator = Rc::new(operator);
            local.spawn_local(health::run(Rc::clone(&operator)));
            local.spawn_local(names::run(Rc::clone(&operator)));
            local.spawn_local(socket::run(listeners, Rc::clone(&operator)));
            local.block_on(&runtime, async move {
                let mut draining = drain.clone();
                tokio::select! {
                    () = draining.reached(Phase::Draining) => {}
                    () = operator.workers_ended() => {}
                }
                // Workers may have ended before this thread had a look. Who is stopped at once says nothing.
                if drain.phase() == Phase::Draining {
                    farewell::tell_all(&operator);
                }
                tokio::select! {
                    () = drain.reached(Phase::Stopping) => {}
                    () = operator.workers_ended() => {}
                }
            });
        })
}

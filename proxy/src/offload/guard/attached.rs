//! The guards of this process: attached at the start, or as soon as a process that is leaving lets
//! go of the interface.

use super::plan::Plan;
use super::{Guard, GuardError};
use crate::config::model::GuardSetting;

/// The guards of this process; dropping them detaches them.
#[derive(Debug, Default)]
pub struct Guards {
    plan: Plan,
    waiting: Vec<GuardSetting>,
    attached: Vec<Guard>,
}

impl Guards {
    /// Guards every interface that can be guarded. One whose place is taken is tried again with
    /// [`Guards::retry`]; what fails otherwise is said, and the daemon enforces its rules alone.
    #[must_use]
    pub fn attach(settings: &[GuardSetting], plan: Plan) -> Self {
        let mut guards = Self {
            plan,
            waiting: settings.to_vec(),
            attached: Vec::new(),
        };
        guards.retry(false);
        guards
    }

    /// Whether an interface is still waited for.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Tries again what was taken. `last`: it is not waited for any longer.
    pub fn retry(&mut self, last: bool) {
        for setting in std::mem::take(&mut self.waiting) {
            match Guard::attach(&setting.interface, setting.mode, &self.plan) {
                Ok(guard) => {
                    let (interface, mode) = (&setting.interface, guard.mode());
                    tracing::info!(%interface, %mode, "guarded");
                    self.attached.push(guard);
                }
                Err(error) if !last && is_busy(&error) => self.waiting.push(setting),
                Err(error) => tracing::warn!(
                    "the guard of {} is not there ({error}); its rules are enforced by the daemon alone",
                    setting.position
                ),
            }
        }
    }

    /// Lets go of the interfaces, for a process that takes over.
    pub fn detach(&mut self) {
        self.waiting.clear();
        self.attached.clear();
    }
}

fn is_busy(error: &GuardError) -> bool {
    use aya::programs::ProgramError;
    matches!(
        error,
        GuardError::Attach { error: ProgramError::SyscallError(error), .. }
            if error.io_error.raw_os_error() == Some(libc::EBUSY)
    )
}

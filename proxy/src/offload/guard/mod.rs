//! The guard: connection attempts that the rules refuse by their source alone are refused on the
//! interface, by an XDP program, before the stack sees them.
//!
//! [`plan::Plan`] says what is refused, [`Guard`] carries it out, [`View`] tells why a source is
//! refused, also in another process than the one that guards. The decisions themselves are in
//! `underpass_common::guard`; `docs/guard.md` says what they mean for rules.

pub mod attached;
pub mod compile;
pub mod flatten;
pub mod plan;
pub mod program;
pub mod running;
pub mod tables;
pub mod view;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aya::programs::xdp::XdpLink;
use aya::programs::{ProgramError, XdpMode};
use thiserror::Error;

pub use crate::config::model::GuardMode as Mode;
use crate::sys::interface;
use plan::{Plan, PlanError};
use program::Program;
use view::{Counters, Refusal, View};

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::Generic => "generic",
        })
    }
}

/// Why there is no guard, or not the one that was asked for.
#[derive(Debug, Error)]
pub enum GuardError {
    /// The binary carries no programs.
    #[error("this binary was built without its eBPF object (cargo xtask build embeds it)")]
    NoObject,
    /// There is no such interface.
    #[error("interface '{name}': {error}")]
    Interface {
        /// Its name.
        name: String,
        /// What the kernel says.
        error: io::Error,
    },
    /// The interface is the loopback.
    #[error(
        "interface '{0}' is the loopback: what comes from this host itself is not to be guarded against"
    )]
    Loopback(String),
    /// The plan cannot be carried out.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The object does not load.
    #[error("loading the eBPF object: {0}")]
    Object(#[from] aya::EbpfError),
    /// The object is not the one that belongs to this daemon.
    #[error("the eBPF object has no {0}")]
    Missing(&'static str),
    /// The kernel refuses the program.
    #[error("loading the guard's program: {0}")]
    Program(#[source] ProgramError),
    /// The kernel refuses an access to a map.
    #[error("the guard's {map}: {error}")]
    Map {
        /// Which one.
        map: &'static str,
        /// What the kernel says.
        error: aya::maps::MapError,
    },
    /// The program cannot be attached.
    #[error("attaching the guard to '{interface}' ({mode}): {}", because(error))]
    Attach {
        /// The interface.
        interface: String,
        /// The mode that was tried last.
        mode: Mode,
        /// What the kernel says.
        error: ProgramError,
    },
    /// The kernel does not show its programs.
    #[error("looking for a running guard: {0}")]
    Search(String),
}

/// The reason at the bottom of the error, which its own words leave out.
fn because(error: &ProgramError) -> String {
    match error {
        ProgramError::SyscallError(error) if error.io_error.raw_os_error() == Some(libc::EBUSY) => {
            "another XDP program is there already".to_owned()
        }
        ProgramError::SyscallError(error) => error.io_error.to_string(),
        error => error.to_string(),
    }
}

/// A guard on an interface. Dropping it detaches it; so does the kernel when the process dies.
pub struct Guard {
    program: Mutex<Program>,
    mode: Mode,
    // Detaches when dropped.
    _link: XdpLink,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

impl Guard {
    /// Guards `interface` of the calling thread's network namespace as `plan` says. Without a mode:
    /// native where the driver can, else generic; generic on a veth device, whose peer takes a
    /// native program's resets only if it has a native program itself.
    ///
    /// # Errors
    /// When there is no such interface or it is the loopback, when the plan cannot be carried out,
    /// or when the kernel refuses.
    pub fn attach(interface: &str, mode: Option<Mode>, plan: &Plan) -> Result<Self, GuardError> {
        let found = interface::find(interface).map_err(|error| GuardError::Interface {
            name: interface.to_owned(),
            error,
        })?;
        if found.loopback {
            return Err(GuardError::Loopback(interface.to_owned()));
        }
        let mut program = Program::load()?;
        program.replace(plan)?;
        let attach = |program: &mut Program, mode| {
            program
                .attach(found.index, xdp_mode(mode))
                .map(|link| (link, mode))
        };
        let attached = match mode {
            Some(mode) => attach(&mut program, mode).map_err(|error| (error, mode)),
            None if found.veth => {
                attach(&mut program, Mode::Generic).map_err(|error| (error, Mode::Generic))
            }
            None => attach(&mut program, Mode::Native).or_else(|error| {
                tracing::debug!(interface, error = because(&error), "no native guard");
                attach(&mut program, Mode::Generic).map_err(|error| (error, Mode::Generic))
            }),
        };
        let (link, mode) = attached.map_err(|(error, mode)| GuardError::Attach {
            interface: interface.to_owned(),
            mode,
            error,
        })?;
        Ok(Self {
            program: Mutex::new(program),
            mode,
            _link: link,
        })
    }

    /// Where the program runs.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Puts `plan` in the place of the rules in force, all at once. Established connections are
    /// not affected, and what a source has used up of a rule's rate stays used up.
    ///
    /// # Errors
    /// When the plan cannot be carried out, or the guard has had 1,024 different rules with it; the
    /// rules in force then stay.
    pub fn replace(&self, plan: &Plan) -> Result<(), GuardError> {
        self.program().replace(plan)
    }

    /// What has been counted.
    ///
    /// # Errors
    /// When the kernel refuses to tell.
    pub fn counters(&self) -> Result<Counters, GuardError> {
        View::of(self.program().tables()).counters()
    }

    /// Why connections of `source` are refused now: an entry per refusing rule.
    ///
    /// # Errors
    /// When the kernel refuses to tell.
    pub fn why(&self, source: std::net::IpAddr) -> Result<Vec<Refusal>, GuardError> {
        View::of(self.program().tables()).why(source)
    }

    fn program(&self) -> MutexGuard<'_, Program> {
        // The program is whole after every call, so a panic elsewhere leaves it usable.
        self.program.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn xdp_mode(mode: Mode) -> XdpMode {
    match mode {
        Mode::Native => XdpMode::Driver,
        Mode::Generic => XdpMode::Skb,
    }
}

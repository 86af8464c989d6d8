//! HAProxy's flags, read the way HAProxy reads them.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::str::FromStr;

use super::{Invocation, Run, UsageError};

/// Reads the arguments after the program name.
///
/// # Errors
/// An unknown flag, a missing or malformed value, no file at all.
pub fn parse(arguments: &[OsString]) -> Result<Invocation, UsageError> {
    let mut flags = Flags {
        rest: arguments.iter(),
        run: Run::default(),
    };
    while let Some(argument) = flags.rest.next() {
        let Some(flag) = argument.to_str().filter(|text| text.starts_with('-')) else {
            return Err(UsageError::mistake(format!(
                "unexpected argument '{}' (files follow '-f' or '--')",
                argument.to_string_lossy()
            )));
        };
        match flag {
            "-v" => return Ok(Invocation::Version { verbose: false }),
            "-vv" => return Ok(Invocation::Version { verbose: true }),
            "-cc" => return Ok(Invocation::Condition(flags.text(flag)?)),
            "--" => flags
                .run
                .files
                .extend(flags.rest.by_ref().map(PathBuf::from)),
            _ => flags.flag(flag)?,
        }
    }
    if flags.run.files.is_empty() {
        return Err(UsageError::mistake(
            "missing configuration file ('-f FILE')",
        ));
    }
    Ok(Invocation::Run(Box::new(flags.run)))
}

struct Flags<'a> {
    rest: std::slice::Iter<'a, OsString>,
    run: Run,
}

impl Flags<'_> {
    fn flag(&mut self, flag: &str) -> Result<(), UsageError> {
        match flag {
            "-f" => {
                let file = PathBuf::from(self.value(flag)?);
                self.run.files.push(file);
            }
            "-c" => self.run.check = true,
            "-C" => self.run.chdir = Some(PathBuf::from(self.value(flag)?)),
            "-d" => {
                self.run.debug = true;
                self.run.foreground = true;
            }
            "-D" => self.run.daemon = true,
            "-db" => self.run.foreground = true,
            "-dD" => self.run.diagnostic = true,
            "-dS" => self.run.no_splice = true,
            "-dW" => self.run.warnings_are_errors = true,
            "-V" => self.run.verbose = true,
            "-q" => self.run.quiet = true,
            "-L" => self.run.local_peer = Some(self.text(flag)?),
            "-n" => self.run.maxconn = self.limit(flag)?,
            "-N" => self.run.default_maxconn = self.limit(flag)?,
            "-p" => self.run.pidfile = Some(PathBuf::from(self.value(flag)?)),
            "-sf" => self.run.finish = self.pids()?,
            "-st" => self.run.terminate = self.pids()?,
            "-dI" | "-dR" | "-dV" | "-dZ" | "-dG" | "-de" | "-dp" | "-dr" | "-s" | "-W" | "-Ws" => {
                self.run.ignored.push(flag.to_owned());
            }
            "-m" => {
                self.number::<u64>(flag)?;
                self.run.ignored.push(flag.to_owned());
            }
            "-S" | "-x" => {
                self.value(flag)?;
                self.run.ignored.push(flag.to_owned());
            }
            _ if flag.starts_with("-dM") => self.run.ignored.push(flag.to_owned()),
            _ => {
                return Err(UsageError::mistake(format!(
                    "unknown flag '{flag}'\nFor more information, try '--help'."
                )));
            }
        }
        Ok(())
    }

    fn value(&mut self, flag: &str) -> Result<&OsStr, UsageError> {
        self.rest
            .next()
            .map(OsString::as_os_str)
            .ok_or_else(|| UsageError::mistake(format!("missing value after '{flag}'")))
    }

    fn text(&mut self, flag: &str) -> Result<String, UsageError> {
        let value = self.value(flag)?;
        value.to_str().map(str::to_owned).ok_or_else(|| {
            UsageError::mistake(format!("the value after '{flag}' is not valid UTF-8"))
        })
    }

    fn number<T: FromStr>(&mut self, flag: &str) -> Result<T, UsageError> {
        let text = self.text(flag)?;
        text.parse()
            .map_err(|_| UsageError::mistake(format!("'{flag}' expects a number, got '{text}'")))
    }

    /// A limit; 0 leaves the configuration's.
    fn limit(&mut self, flag: &str) -> Result<Option<usize>, UsageError> {
        Ok(Some(self.number(flag)?).filter(|&limit| limit > 0))
    }

    /// Process ids up to the next flag; there may be none.
    fn pids(&mut self) -> Result<Vec<i32>, UsageError> {
        let mut pids = Vec::new();
        while let Some(word) = self.rest.as_slice().first() {
            let text = word.to_string_lossy();
            if text.starts_with('-') {
                break;
            }
            let pid = text.parse().ok().filter(|&pid: &i32| pid > 0);
            pids.push(
                pid.ok_or_else(|| UsageError::mistake(format!("'{text}' is not a process id")))?,
            );
            self.rest.next();
        }
        Ok(pids)
    }
}

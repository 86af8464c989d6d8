//! `cargo xtask run`: the daemon on the quickstart, or on a file of the user's own.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::iterator::Signals;

use crate::setup::Need;
use crate::signals::ENDING;
use crate::workspace::Workspace;
use crate::{build, demo_server, progress};

const QUICKSTART: &str = "examples/quickstart.cfg";
/// Where the quickstart listens.
const FRONT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
/// Where the quickstart expects its server.
const SERVER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8090);

/// Builds the daemon and runs it with `arguments`; without any, on the quickstart with a server
/// behind it.
///
/// # Errors
///
/// If it cannot be built or started.
pub(crate) fn run(workspace: &Workspace, arguments: &[OsString]) -> Result<ExitCode> {
    let daemon = build::build(workspace, Need::Build)?;
    if arguments.is_empty() {
        return demonstrate(workspace, &daemon);
    }
    // In place of this program: signals and the exit status need no passing on.
    let error = Command::new(&daemon).args(arguments).exec();
    Err(error).with_context(|| format!("cannot start {}", daemon.display()))
}

fn demonstrate(workspace: &Workspace, daemon: &Path) -> Result<ExitCode> {
    demo_server::start(SERVER)
        .with_context(|| format!("{QUICKSTART} names that address; is it taken?"))?;
    let signals = Signals::new(ENDING)?;
    let mut child = Command::new(daemon)
        .args(["-f", QUICKSTART])
        .current_dir(workspace.root())
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", daemon.display()))?;
    let running = Arc::new(Mutex::new(Some(Pid::from_child(&child))));
    pass_on(signals, Arc::clone(&running))?;

    show_errors_until_its_end(&mut child);
    // A signal that comes from here on must not reach another process of the same number.
    let mut running = running.lock().unwrap_or_else(PoisonError::into_inner);
    let status = child.wait().context("cannot wait for the daemon")?;
    *running = None;
    Ok(exit_code(status))
}

/// Passes the signals that end a program on to the daemon, which then ends this one.
fn pass_on(mut signals: Signals, running: Arc<Mutex<Option<Pid>>>) -> Result<()> {
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            for number in signals.forever() {
                let running = running.lock().unwrap_or_else(PoisonError::into_inner);
                if let (Some(pid), Some(signal)) = (*running, Signal::from_named_raw(number)) {
                    // It may have ended by the same signal from the terminal.
                    let _ = kill_process(pid, signal);
                }
            }
        })
        .context("cannot start a thread")?;
    Ok(())
}

/// Shows what the daemon writes to its standard error, and what to try once it listens.
fn show_errors_until_its_end(child: &mut Child) {
    let Some(stderr) = child.stderr.take() else {
        return;
    };
    let mut ready = false;
    for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        eprintln!("{line}");
        if !ready && line.contains("ready") {
            ready = true;
            show_what_to_try();
        }
    }
}

fn show_what_to_try() {
    progress(
        "run",
        &format!("{QUICKSTART}: {FRONT} -> {SERVER}, a small HTTP server"),
    );
    progress("run", &format!("try  curl http://{FRONT}/"));
    progress(
        "run",
        &format!("     curl -o /dev/null http://{FRONT}/bulk"),
    );
    progress(
        "run",
        "each connection then gives a line that ends with the path of its bytes; Ctrl-C stops",
    );
}

/// The status as a shell would give it.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .and_then(|code| u8::try_from(code).ok());
    code.map_or(ExitCode::FAILURE, ExitCode::from)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::{ExitCode, ExitStatus};

    use super::{FRONT, SERVER, exit_code};

    #[test]
    fn quickstart_names_the_addresses_that_are_shown() {
        let text = include_str!("../../examples/quickstart.cfg");
        assert!(text.contains(&format!("bind {FRONT}\n")));
        assert!(text.contains(&format!("server demo1 {SERVER}\n")));
    }

    #[test]
    fn exit_code_is_a_shells() {
        assert_eq!(exit_code(ExitStatus::from_raw(3 << 8)), ExitCode::from(3));
        assert_eq!(exit_code(ExitStatus::from_raw(2)), ExitCode::from(130));
    }
}

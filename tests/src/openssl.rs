//! The openssl program as a TLS client and server: an implementation of TLS that is not ours.

use std::ffi::OsStr;
use std::io::Write;
use std::net::SocketAddr;
use std::process::{ChildStdin, ExitStatus};

use anyhow::{Context, Result, bail};

use crate::daemon::BOUND;
use crate::netns::Netns;
use crate::process::{Output, Process};

/// What `s_client` says of a finished handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Whether an earlier session was resumed.
    pub reused: bool,
    /// For example `TLSv1.3`.
    pub protocol: String,
    /// OpenSSL's name of the cipher suite.
    pub cipher: String,
    /// The protocol that ALPN chose.
    pub alpn: Option<String>,
    /// The common name of the server's certificate; absent in a resumed session of TLS 1.3.
    pub name: Option<String>,
    /// The result of verifying the server's certificate: 0 is good.
    pub verify: u32,
}

/// A running `openssl s_client`.
pub struct Client {
    process: Process,
    input: Option<ChildStdin>,
}

impl Client {
    /// Starts it in `ns`, towards `to`, with more `arguments`.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start<A: AsRef<OsStr>>(
        ns: &Netns,
        to: SocketAddr,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Self> {
        let mut command = ns.command("openssl");
        command
            .args(["s_client", "-connect"])
            .arg(to.to_string())
            .args(arguments);
        let (process, input) = Process::spawn_piped(&mut command)?;
        Ok(Self {
            process,
            input: Some(input),
        })
    }

    /// Waits for the end of the handshake.
    ///
    /// # Errors
    /// When it fails, or takes too long: the message quotes the program.
    pub fn summary(&self) -> Result<Summary> {
        let what = "handshake summary";
        let lines = self
            .process
            .wait_lines(Output::Stdout, BOUND, what, |lines| {
                let end = lines
                    .iter()
                    .position(|line| line.trim().starts_with("Verify return code:"))?;
                Some(lines[..=end].to_vec())
            })?;
        parse_summary(&lines)
            .with_context(|| format!("no handshake\n{}", self.process.transcript()))
    }

    /// Sends a line.
    ///
    /// # Errors
    /// When the program is gone.
    pub fn send(&mut self, line: &str) -> Result<()> {
        let input = self.input.as_mut().context("open standard input")?;
        writeln!(input, "{line}")?;
        input.flush()?;
        Ok(())
    }

    /// Waits for a line of the other end's.
    ///
    /// # Errors
    /// When it does not come in time.
    pub fn expect(&self, line: &str) -> Result<()> {
        self.process
            .wait_lines(Output::Stdout, BOUND, line, |seen| {
                seen.iter().any(|seen| seen == line).then_some(())
            })
    }

    /// Closes its standard input, at which it closes the connection, and waits for its end.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn finish(mut self) -> Result<ExitStatus> {
        self.input = None;
        self.process.wait_exit(BOUND)
    }

    /// Waits for the end of a program that gives up by itself, and gives the number of the alert that it received.
    ///
    /// # Errors
    /// When it does not end in time, or ends without an alert.
    pub fn alert(mut self) -> Result<u8> {
        self.process.wait_exit(BOUND)?;
        self.process
            .wait_lines(Output::Stderr, BOUND, "alert", |lines| {
                lines.iter().find_map(|line| parse_alert(line))
            })
    }
}

/// The common name in a line like `subject=CN = a.example`.
fn parse_name(line: &str) -> Option<String> {
    let subject = line.trim().strip_prefix("subject=")?;
    let (_, name) = subject.rsplit_once("CN")?;
    Some(name.trim_start_matches([' ', '=']).trim().to_owned())
}

fn parse_alert(line: &str) -> Option<u8> {
    let (_, number) = line.split_once("SSL alert number ")?;
    number.trim().parse().ok()
}

fn parse_summary(lines: &[String]) -> Result<Summary> {
    let find = |start: &str| {
        lines
            .iter()
            .find_map(|line| line.trim().strip_prefix(start).map(str::trim))
    };
    let (reused, rest) = match (find("New, "), find("Reused, ")) {
        (_, Some(rest)) => (true, rest),
        (Some(rest), None) => (false, rest),
        (None, None) => bail!("neither a new nor a reused session"),
    };
    let (protocol, cipher) = rest
        .split_once(", Cipher is ")
        .with_context(|| rest.to_owned())?;
    if cipher == "(NONE)" {
        bail!("no cipher was agreed");
    }
    let verify = find("Verify return code:").context("a result of the verification")?;
    let verify = verify.split_whitespace().next().unwrap_or_default();
    Ok(Summary {
        reused,
        protocol: protocol.to_owned(),
        cipher: cipher.to_owned(),
        alpn: find("ALPN protocol:").map(str::to_owned),
        name: lines.iter().find_map(|line| parse_name(line)),
        verify: verify.parse()?,
    })
}

/// A running `openssl s_server`.
pub struct Server {
    process: Process,
}

impl Server {
    /// Starts it in `ns`, listening on `at`, with more `arguments`, and waits until it listens.
    ///
    /// # Errors
    /// When it does not get that far.
    pub fn start<A: AsRef<OsStr>>(
        ns: &Netns,
        at: SocketAddr,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Self> {
        let mut command = ns.command("openssl");
        command
            .args(["s_server", "-accept"])
            .arg(at.to_string())
            .args(arguments);
        // It has an end with its standard input in some modes; a pipe that nobody writes to keeps it.
        let process = Process::spawn(&mut command)?;
        process.wait_lines(Output::Stdout, BOUND, "word ACCEPT", |lines| {
            lines
                .iter()
                .any(|line| line.trim() == "ACCEPT")
                .then_some(())
        })?;
        Ok(Self { process })
    }

    /// What it printed, for failure messages.
    #[must_use]
    pub fn transcript(&self) -> String {
        self.process.transcript()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_summary() {
        let text = "CONNECTED(00000003)\n---\nCertificate chain\n 0 s:CN = a.example\n   i:CN = test ca\n---\n\
                    Server certificate\nsubject=CN = a.example\nissuer=CN = test ca\n---\n\
                    New, TLSv1.3, Cipher is TLS_AES_256_GCM_SHA384\nServer public key is 256 bit\n\
                    ALPN protocol: h2\nEarly data was not sent\nVerify return code: 0 (ok)";
        let summary = parse_summary(&lines(text)).unwrap();
        assert!(!summary.reused);
        assert_eq!(summary.name.as_deref(), Some("a.example"));
        assert_eq!(summary.alpn.as_deref(), Some("h2"));
        assert_eq!(
            (summary.protocol.as_str(), summary.verify),
            ("TLSv1.3", 0),
            "{summary:?}"
        );
    }

    #[test]
    fn no_handshake_is_no_summary() {
        let text = "no peer certificate available\n---\nNew, (NONE), Cipher is (NONE)\n\
                    Verify return code: 0 (ok)";
        assert!(parse_summary(&lines(text)).is_err());
    }

    #[test]
    fn an_alert() {
        let line = "00BB:error:0A000458:SSL routines:ssl3_read_bytes:tlsv1 unrecognized name:\
                    ../ssl/record/rec_layer_s3.c:1590:SSL alert number 112";
        assert_eq!(parse_alert(line), Some(112));
    }
}

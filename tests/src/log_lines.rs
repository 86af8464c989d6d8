//! What a daemon logs of a script of visits, made comparable with what another one logs of the same.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;

use anyhow::{Context, Result, ensure};
use socket2::SockRef;

use crate::daemon::{BOUND, Daemon, Launch};
use crate::netns::Topology;
use crate::peer::{Buffers, PATIENCE, Peer};
use crate::process::Output;
use crate::rig::listen;

/// Debian's haproxy.
pub const HAPROXY: &str = "/usr/sbin/haproxy";

/// Where [`serve`] listens.
pub const SERVER: &str = "127.0.0.1:9001";

/// Starts a server that greets with `hello`, reads to the end, and ends. It lasts as long as the process.
///
/// # Errors
/// When it cannot listen.
pub fn serve(net: &Topology) -> Result<()> {
    let address: SocketAddr = SERVER.parse()?;
    let listener = net.server.run(|| listen(address, Buffers::default()))?;
    SockRef::from(&listener).set_read_timeout(None)?;
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            thread::spawn(move || {
                // Failures are the visitor's doing.
                let _ = stream.set_read_timeout(Some(PATIENCE));
                let _ = stream.write_all(b"hello");
                let _ = std::io::copy(&mut stream, &mut std::io::sink());
            });
        }
    });
    Ok(())
}

/// A visit.
#[derive(Clone, Debug)]
pub struct Visit {
    /// An address and port, or the path of a UNIX socket.
    pub to: String,
    /// What the visitor sends.
    pub says: &'static str,
}

impl Visit {
    /// Sends, ends its direction and reads to the end, or to a reset.
    ///
    /// # Errors
    /// When it cannot connect, or the end does not come in time.
    pub fn make(&self) -> Result<()> {
        if self.to.starts_with('/') {
            let stream = UnixStream::connect(&self.to).context("connect")?;
            stream.set_read_timeout(Some(PATIENCE))?;
            return talk(&stream, self.says, || stream.shutdown(Shutdown::Write));
        }
        let peer =
            Peer::connect(self.to.parse()?, Buffers::default()).with_context(|| self.to.clone())?;
        let stream: TcpStream = peer.into_socket().into();
        talk(&stream, self.says, || stream.shutdown(Shutdown::Write))
    }
}

fn talk<S>(stream: &S, says: &str, end: impl FnOnce() -> std::io::Result<()>) -> Result<()>
where
    for<'a> &'a S: Read + Write,
{
    let mut stream = stream;
    // The daemon may have closed already.
    let _ = stream.write_all(says.as_bytes());
    let _ = end();
    let mut received = Vec::new();
    match stream.read_to_end(&mut received) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
            Err(error).context("the end of the stream")
        }
        _ => Ok(()),
    }
}

/// Runs `program` with `config`, makes the visits one after the other, and lets it end by itself.
///
/// # Errors
/// When anything of that fails.
pub fn run(program: &Path, config: &str, net: &Topology, visits: &[Visit]) -> Result<Daemon> {
    let mut daemon = Launch::program(program, config).start(&net.proxy)?;
    net.client
        .run(|| visits.iter().try_for_each(Visit::make))
        .with_context(|| daemon.process().transcript())?;
    daemon.signal(libc::SIGUSR1)?;
    let status = daemon.process().wait_exit(BOUND)?;
    ensure!(
        status.success(),
        "it stopped with {status}\n{}",
        daemon.process().transcript()
    );
    // The lines may be read a moment after the process is gone: this ends when there can be no more of them.
    let _ = daemon
        .process()
        .wait_lines(Output::Stdout, BOUND, "more lines", |_| None::<()>);
    Ok(daemon)
}

/// The line without what differs from run to run: where a word is `key=value` and `keys` has the key, digits and what
/// looks like hexadecimal numbers are collapsed.
#[must_use]
pub fn mask(line: &str, keys: &[&str]) -> String {
    let mut words = Vec::new();
    let mut masked = false;
    for word in line.split(' ') {
        // A date has a second word.
        let key = word.split_once('=').map(|(key, _)| key);
        masked = key.map_or(masked && word.starts_with('+'), |key| keys.contains(&key));
        let collapsed = match word.split_once('=') {
            Some((key, value)) if masked => format!("{key}={}", collapse(value)),
            _ if masked => collapse(word),
            _ => word.to_owned(),
        };
        words.push(collapsed);
    }
    words.join(" ")
}

/// Every run of digits, of upper-case hexadecimal ones too, becomes a single 0.
#[must_use]
pub fn collapse(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        let is_number = c.is_ascii_digit() || ('A'..='F').contains(&c);
        match (is_number, out.ends_with('0')) {
            (true, true) => {}
            (true, false) => out.push('0'),
            (false, _) => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks() {
        assert_eq!(
            mask("a=12 T=23/Nov/2026:10:00:00 +0100 b=+7", &["T", "b"]),
            "a=12 T=0/Nov/0:0:0:0 +0 b=+0"
        );
        assert_eq!(mask("x=7F000001 x=-1 y=7", &["x"]), "x=0 x=-0 y=7");
    }
}

//! One end of a flow.

use std::fmt;
use std::io::{self, ErrorKind};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;

use super::Traffic;
use super::script::{NAME, Script};

/// What one end of a flow carried, bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Carried {
    pub(super) sent: u64,
    pub(super) received: u64,
}

/// What went wrong with a flow.
#[derive(Debug)]
pub enum Trouble {
    /// Bytes were wrong, or missing before an end that looked like order.
    Wrong(String),
    /// It was reset.
    Reset(String),
    /// It did not go on.
    Stuck(String),
}

impl Trouble {
    pub(super) fn of(error: &io::Error, when: &str) -> Self {
        let what = format!("{error} {when}");
        match error.kind() {
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted => {
                Self::Reset(what)
            }
            _ => Self::Stuck(what),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Wrong(what) | Self::Reset(what) | Self::Stuck(what)) = self;
        f.write_str(what)
    }
}

/// What is known of the other direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Other {
    /// Nothing yet.
    Unknown,
    /// It will end by itself.
    EndsByItself,
    /// It waits for this one to end.
    Waits,
    /// It has ended.
    Ended,
}

/// Sends `script` and receives what the other end has, until both directions have ended.
pub(super) async fn talk(
    mut stream: TcpStream,
    script: Script,
    traffic: &Traffic,
) -> Result<Carried, Trouble> {
    let (mut from, mut to) = stream.split();
    let (tell, other) = watch::channel(Other::Unknown);
    let both = async {
        tokio::try_join!(
            receive(&mut from, &script, traffic, tell),
            send(&mut to, &script, other),
        )
    };
    let ended = match tokio::time::timeout(traffic.patience, both).await {
        Ok(ended) => ended.map(|(received, sent)| Carried { sent, received }),
        Err(_) => Err(Trouble::Stuck(format!(
            "not over after {:?}, {} bytes to send",
            traffic.patience, script.bytes
        ))),
    };
    if ended.is_err() {
        // Giving up is not to look like an end to the other side.
        let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    }
    ended
}

async fn send(
    to: &mut WriteHalf<'_>,
    script: &Script,
    mut other: watch::Receiver<Other>,
) -> Result<u64, Trouble> {
    let mut dice = script.dice(1);
    let mut buffer = vec![0; usize::try_from(script.longest).unwrap_or(1)];
    let mut sent = 0;
    while sent < script.bytes {
        let length = (1 + dice.below(script.longest)).min(script.bytes - sent);
        let part = &mut buffer[..usize::try_from(length).unwrap_or(1)];
        script.fill(sent, part);
        let written = to.write_all(part).await;
        written.map_err(|error| Trouble::of(&error, &format!("sending at {sent}")))?;
        sent += length;
        if let Some(pause) = script.pause(&mut dice) {
            // The shape of the traffic.
            tokio::time::sleep(pause).await;
        }
    }
    if script.ends_last {
        // Of two that would wait for one another, the client does.
        let is_over = |other: &Other| match other {
            Other::Unknown | Other::EndsByItself => false,
            Other::Waits => !script.is_clients(),
            Other::Ended => true,
        };
        // The other half of this end fails before it goes away.
        let _ = other.wait_for(is_over).await;
    }
    let ended = to.shutdown().await;
    ended.map_err(|error| Trouble::of(&error, "ending"))?;
    Ok(sent)
}

async fn receive(
    from: &mut ReadHalf<'_>,
    own: &Script,
    traffic: &Traffic,
    tell: watch::Sender<Other>,
) -> Result<u64, Trouble> {
    let mut name = [0; NAME];
    let named = from.read_exact(&mut name).await;
    named.map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => Trouble::Wrong("an end before the first bytes".to_owned()),
        _ => Trouble::of(&error, "receiving the first bytes"),
    })?;
    let script = Script::named(name, traffic.seed, traffic.most)
        .filter(|script| script.is_clients() != own.is_clients())
        .ok_or_else(|| Trouble::Wrong(format!("first bytes that nobody sent: {name:x?}")))?;
    tell.send_replace(if script.ends_last {
        Other::Waits
    } else {
        Other::EndsByItself
    });

    let mut dice = script.dice(2);
    let mut buffer = vec![0; 64 << 10];
    let mut received = NAME as u64;
    loop {
        let room = usize::try_from(1 + dice.below(buffer.len() as u64)).unwrap_or(1);
        let got = from.read(&mut buffer[..room]).await;
        let got = got.map_err(|error| {
            let bytes = script.bytes;
            Trouble::of(&error, &format!("receiving at {received} of {bytes}"))
        })?;
        if got == 0 {
            break;
        }
        let checked = script.check(received, &buffer[..got]);
        checked.map_err(Trouble::Wrong)?;
        received += got as u64;
        if received > script.bytes {
            let bytes = script.bytes;
            return Err(Trouble::Wrong(format!("{received} bytes of {bytes}")));
        }
        if let Some(pause) = script.pause(&mut dice).filter(|_| dice.below(4) == 0) {
            tokio::time::sleep(pause).await;
        }
    }
    if received != script.bytes {
        let bytes = script.bytes;
        let what = format!("an orderly end after {received} of {bytes} bytes");
        return Err(Trouble::Wrong(what));
    }
    tell.send_replace(Other::Ended);
    Ok(received)
}

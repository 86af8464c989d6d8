//! The load of handshakes: connections that are opened, carry one request and one reply, and end.
//!
//! The server ends each connection and the proxy passes that on, so that what waits out its time is never on the
//! client's side, which would run out of ports. An end that TLS did not announce is an error.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{Arc, Barrier},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, client::Resumption};
use underpass_tests::netns::Netns;

use crate::{
    load::{Outcome, to_f64},
    tls::server_name,
    workload::{REPLY_BYTES, Sessions},
};

/// Longest wait for one step of a connection.
const STALL: Duration = Duration::from_secs(5);

/// The server ends the connection after its reply.
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n";

/// Failures in a row after which a client gives up.
const FAILURES: u32 = 10;

/// Sessions that one client remembers. It uses one per connection, and gets new ones on each.
const REMEMBERED: usize = 32;

/// Least share of handshakes that must be of the kind asked for.
const LEAST_SHARE: f64 = 0.99;

/// What one client saw.
#[derive(Default)]
struct Tally {
    latencies: Vec<Duration>,
    bytes: u64,
    errors: u64,
    /// Handshakes of the kind asked for.
    as_asked: u64,
}

/// Opens connections from `ns` to `address`, `clients` at a time, for `length`; over TLS when there are settings for
/// it. For resumed sessions, each client makes one full handshake before the time begins.
///
/// # Errors
/// When a client fails again and again, or handshakes are not of the kind asked for.
pub(crate) fn run(
    ns: &Netns,
    address: SocketAddr,
    clients: usize,
    length: Duration,
    tls: Option<(&Arc<ClientConfig>, Sessions)>,
) -> Result<Outcome> {
    let start = Barrier::new(clients + 1);
    // Threads begin in the namespace of the thread that starts them.
    let (results, duration) = ns.run(|| {
        thread::scope(|scope| {
            let clients: Vec<_> = (0..clients)
                .map(|_| scope.spawn(|| client(address, length, tls, &start)))
                .collect();
            start.wait();
            let begin = Instant::now();
            let results: Vec<Result<Tally>> = clients
                .into_iter()
                .map(|client| match client.join() {
                    Ok(result) => result,
                    Err(panic) => std::panic::resume_unwind(panic),
                })
                .collect();
            (results, begin.elapsed())
        })
    });
    let mut sum = Tally::default();
    for tally in results {
        let tally = tally?;
        sum.latencies.extend(tally.latencies);
        sum.bytes += tally.bytes;
        sum.errors += tally.errors;
        sum.as_asked += tally.as_asked;
    }
    summary(sum, duration, tls.map(|(_, sessions)| sessions))
}

fn summary(mut sum: Tally, duration: Duration, sessions: Option<Sessions>) -> Result<Outcome> {
    let requests = sum.latencies.len() as u64;
    ensure!(requests > 0, "no connection was served");
    let as_asked = sessions.map(|_| to_f64(sum.as_asked) / to_f64(requests));
    if let (Some(share), Some(sessions)) = (as_asked, sessions) {
        ensure!(
            share >= LEAST_SHARE,
            "only {} of {requests} handshakes were {}",
            sum.as_asked,
            match sessions {
                Sessions::Full => "full ones",
                Sessions::Resumed => "resumptions",
            }
        );
    }
    sum.latencies.sort_unstable();
    let micros = |percent| percentile(&sum.latencies, percent).as_secs_f64() * 1e6;
    Ok(Outcome {
        duration,
        requests,
        bytes: sum.bytes,
        latency_us: Some((micros(50), micros(99))),
        errors: sum.errors,
        as_asked,
    })
}

/// The smallest value that `percent` of the sorted values do not exceed.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or_default()
}

fn client(
    address: SocketAddr,
    length: Duration,
    tls: Option<(&Arc<ClientConfig>, Sessions)>,
    start: &Barrier,
) -> Result<Tally> {
    let tls = tls.map(|(config, sessions)| (settings(config, sessions), sessions));
    let primed = match &tls {
        Some((config, Sessions::Resumed)) => connection(address, Some(config), &mut Vec::new())
            .map(drop)
            .context("first connection, to have a session to resume"),
        _ => Ok(()),
    };
    // Whoever failed must still not keep the others waiting.
    start.wait();
    primed?;
    let end = Instant::now() + length;
    let mut tally = Tally::default();
    let mut reply = Vec::new();
    let mut failures = 0;
    while Instant::now() < end {
        let begin = Instant::now();
        match connection(address, tls.as_ref().map(|(config, _)| config), &mut reply) {
            Ok(kind) => {
                tally.latencies.push(begin.elapsed());
                tally.bytes += reply.len() as u64;
                tally.as_asked += u64::from(
                    matches!((kind, &tls), (Some(kind), Some((_, asked))) if is(kind, *asked)),
                );
                failures = 0;
            }
            Err(error) => {
                tally.errors += 1;
                failures += 1;
                if failures == FAILURES {
                    return Err(error.context(format!("{FAILURES} failures in a row, the last")));
                }
            }
        }
    }
    Ok(tally)
}

/// The settings of one client: whoever resumes does so from a memory of its own.
fn settings(config: &Arc<ClientConfig>, sessions: Sessions) -> Arc<ClientConfig> {
    match sessions {
        Sessions::Full => Arc::clone(config),
        Sessions::Resumed => {
            let mut own = ClientConfig::clone(config);
            own.resumption = Resumption::in_memory_sessions(REMEMBERED);
            Arc::new(own)
        }
    }
}

const fn is(kind: HandshakeKind, asked: Sessions) -> bool {
    matches!(
        (kind, asked),
        (HandshakeKind::Full, Sessions::Full) | (HandshakeKind::Resumed, Sessions::Resumed)
    )
}

/// One connection from opening to end.
fn connection(
    address: SocketAddr,
    tls: Option<&Arc<ClientConfig>>,
    reply: &mut Vec<u8>,
) -> Result<Option<HandshakeKind>> {
    let mut stream = TcpStream::connect_timeout(&address, STALL).context("connect")?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(STALL))?;
    stream.set_write_timeout(Some(STALL))?;
    let Some(config) = tls else {
        exchange(&mut stream, reply)?;
        return Ok(None);
    };
    let mut session = ClientConnection::new(Arc::clone(config), server_name()?)?;
    exchange(&mut rustls::Stream::new(&mut session, &mut stream), reply)?;
    Ok(session.handshake_kind())
}

fn exchange(stream: &mut (impl Read + Write), reply: &mut Vec<u8>) -> Result<()> {
    reply.clear();
    stream.write_all(REQUEST).context("handshake and request")?;
    stream.read_to_end(reply).context("reply")?;
    if !reply.starts_with(b"HTTP/1.1 200 ") || reply.len() < REPLY_BYTES {
        bail!("{} bytes that are not the reply", reply.len());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::{
        KeyKind,
        tests::{server, server_config},
    };

    fn reply() -> Vec<u8> {
        let mut reply = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
        reply.resize(reply.len() + REPLY_BYTES, b'x');
        reply
    }

    fn kinds(sessions: Sessions, count: usize) -> Vec<HandshakeKind> {
        let (address, server) = server(server_config(KeyKind::P256), count, |tls| {
            let mut request = vec![0; REQUEST.len()];
            tls.read_exact(&mut request).unwrap();
            tls.write_all(&reply()).unwrap();
        });
        let config = settings(&Arc::new(crate::tls::client().unwrap()), sessions);
        let kinds = (0..count)
            .map(|_| {
                let kind = connection(address, Some(&config), &mut Vec::new());
                kind.unwrap().unwrap()
            })
            .collect();
        server.join().unwrap();
        kinds
    }

    #[test]
    fn clients_without_memory_never_resume() {
        assert_eq!(kinds(Sessions::Full, 3), [HandshakeKind::Full; 3]);
    }

    #[test]
    fn clients_with_memory_resume_from_their_second_connection_on() {
        let kinds = kinds(Sessions::Resumed, 4);
        assert_eq!(kinds[0], HandshakeKind::Full);
        assert_eq!(kinds[1..], [HandshakeKind::Resumed; 3]);
    }

    #[test]
    fn an_end_without_the_sessions_word_is_an_error() {
        let (address, server) = server(server_config(KeyKind::P256), 1, |tls| {
            let mut request = vec![0; REQUEST.len()];
            tls.read_exact(&mut request).unwrap();
            tls.write_all(&reply()).unwrap();
            tls.sock.shutdown(std::net::Shutdown::Write).unwrap();
        });
        let config = Arc::new(crate::tls::client().unwrap());
        assert!(connection(address, Some(&config), &mut Vec::new()).is_err());
        server.join().unwrap();
    }

    fn tally(count: u64, as_asked: u64) -> Tally {
        Tally {
            latencies: (1..=count).map(Duration::from_millis).collect(),
            bytes: 1,
            errors: 0,
            as_asked,
        }
    }

    #[test]
    fn wrong_handshakes_fail_the_measurement() {
        let second = Duration::from_secs(1);
        let outcome = summary(tally(100, 99), second, Some(Sessions::Resumed)).unwrap();
        assert_eq!(outcome.as_asked, Some(0.99));
        assert_eq!(outcome.latency_us, Some((50_000.0, 99_000.0)));
        let error = summary(tally(100, 98), second, Some(Sessions::Resumed)).unwrap_err();
        assert!(error.to_string().contains("98 of 100"), "{error}");
        assert!(summary(tally(0, 0), second, None).is_err());
        let raw = summary(tally(1, 0), second, None).unwrap();
        assert_eq!(raw.as_asked, None);
    }
}

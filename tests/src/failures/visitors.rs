//! Clients that ask at a bounded pace and tell how each answer came, or did not.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::Plan;
use super::script::Random;
use super::servers::question;
use super::tally::Tally;
use crate::pattern::Pattern;

/// How long a client waits for a whole answer: longer than all attempts of a proxy to reach a server together, and
/// than a server hangs.
const PATIENCE: Duration = Duration::from_secs(5);

/// The lengths of answers, from and to: mostly small ones, and some that need more than one read.
const SMALL: (u64, u64) = (2, 4000);
const LARGE: (u64, u64) = (16_000, 64_000);

/// How a visit went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The whole answer, and an end.
    Complete,
    /// The proxy did not take the connection.
    Refused,
    /// A reset before the first byte.
    ResetBefore,
    /// An end before the first byte.
    EndedBefore,
    /// A reset behind the first byte.
    ResetMidway,
    /// An end behind the first byte and before the last: an answer that looks complete and is not.
    Truncated,
    /// No end in time.
    TimedOut,
    /// Bytes that the server has not sent, or not there.
    Corrupt,
}

impl Outcome {
    /// All of them, in the order of the tables.
    pub const ALL: [Self; 8] = [
        Self::Complete,
        Self::Refused,
        Self::ResetBefore,
        Self::EndedBefore,
        Self::ResetMidway,
        Self::Truncated,
        Self::TimedOut,
        Self::Corrupt,
    ];

    /// For the heads of tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Refused => "refused",
            Self::ResetBefore => "reset before any byte",
            Self::EndedBefore => "ended before any byte",
            Self::ResetMidway => "reset midway",
            Self::Truncated => "truncated",
            Self::TimedOut => "timed out",
            Self::Corrupt => "corrupt",
        }
    }
}

/// One question on a connection of its own.
#[derive(Debug, Clone, Copy)]
pub struct Visit {
    /// Of the contents of the answer.
    pub seed: u64,
    /// Bytes of the answer.
    pub length: u64,
}

impl Visit {
    /// Connects to `proxy`, asks, and reads to the end.
    #[must_use]
    pub fn make(&self, proxy: SocketAddr) -> Outcome {
        let end = Instant::now() + PATIENCE;
        let mut stream = match TcpStream::connect_timeout(&proxy, PATIENCE) {
            Ok(stream) => stream,
            Err(error) if error.kind() == ErrorKind::TimedOut => return Outcome::TimedOut,
            // It was taken, and reset before this client had a look.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                return Outcome::ResetBefore;
            }
            Err(_) => return Outcome::Refused,
        };
        // Whoever learns of a reset by writing does not learn of it again by reading: that gives an end.
        let is_reset = stream.write_all(&question(self.seed, self.length)).is_err();
        let pattern = Pattern::new(self.seed);
        let mut received = 0;
        let mut buffer = [0; 16 * 1024];
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || stream.set_read_timeout(Some(left)).is_err() {
                return Outcome::TimedOut;
            }
            match stream.read(&mut buffer) {
                Ok(0) if received == self.length => return Outcome::Complete,
                Ok(0) => {
                    return match (is_reset, received) {
                        (true, 0) => Outcome::ResetBefore,
                        (true, _) => Outcome::ResetMidway,
                        (false, 0) => Outcome::EndedBefore,
                        (false, _) => Outcome::Truncated,
                    };
                }
                Ok(count) => {
                    let wrong = pattern.check(received, &buffer[..count]).is_err();
                    received += count as u64;
                    if wrong || received > self.length {
                        return Outcome::Corrupt;
                    }
                }
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => return Outcome::TimedOut,
                    _ if received == 0 => return Outcome::ResetBefore,
                    _ => return Outcome::ResetMidway,
                },
            }
        }
    }
}

/// Asks by the plan, from as many threads as it has visitors, and gives the sum.
///
/// # Errors
/// When no thread can be had.
pub(super) fn ask(proxy: SocketAddr, plan: &Plan, begin: Instant) -> Result<Tally> {
    // The threads of this namespace inherit it.
    let threads = (0..plan.visitors)
        .map(|number| {
            let plan = *plan;
            Ok(thread::Builder::new().spawn(move || one(proxy, &plan, number, begin))?)
        })
        .collect::<Result<Vec<_>>>()?;
    let mut sum = Tally::default();
    for thread in threads {
        let tally = thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        sum.add(&tally);
    }
    Ok(sum)
}

fn one(proxy: SocketAddr, plan: &Plan, number: u32, begin: Instant) -> Tally {
    let mut tally = Tally::default();
    // Spread over the pace, so that they do not come in step.
    let first = begin + plan.pace * number / plan.visitors.max(1);
    for slot in 0_u32.. {
        let at = first + plan.pace * slot;
        if at >= begin + plan.length {
            break;
        }
        let now = Instant::now();
        if at + plan.pace < now {
            // Still busy with an answer when this was due.
            tally.skipped += 1;
            continue;
        }
        thread::sleep(at.saturating_duration_since(now));
        // The questions do not depend on how the ones before went.
        let key = u64::from(number) << 32 | u64::from(slot);
        let mut random = Random::new(plan.seed ^ key.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let lengths = if random.between((0, 9)) == 0 {
            LARGE
        } else {
            SMALL
        };
        let visit = Visit {
            seed: random.next(),
            length: random.between(lengths),
        };
        tally.count(visit.make(proxy));
    }
    tally
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use socket2::SockRef;

    use super::*;
    use crate::failures::servers::QUESTION;

    /// How a visit goes to one who sends these bytes, and then ends or resets.
    fn visit(bytes: &'static [u8], reset: bool) -> Outcome {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut [0; QUESTION]).unwrap();
            stream.write_all(bytes).unwrap();
            if reset {
                // What is sent and not yet received may be lost by a reset.
                let mut room = [0; 1];
                stream
                    .set_read_timeout(Some(Duration::from_millis(50)))
                    .unwrap();
                let _ = stream.read(&mut room);
                SockRef::from(&stream)
                    .set_linger(Some(Duration::ZERO))
                    .unwrap();
            }
        });
        let outcome = Visit { seed: 5, length: 4 }.make(address);
        server.join().unwrap();
        outcome
    }

    #[test]
    fn every_way_to_miss_an_answer_is_told_apart() {
        let mut right = [0; 5];
        Pattern::new(5).fill(0, &mut right);
        let right: &'static [u8] = right.to_vec().leak();
        assert_eq!(visit(&right[..4], false), Outcome::Complete);
        assert_eq!(visit(&right[..4], true), Outcome::ResetMidway);
        assert_eq!(visit(&right[..3], false), Outcome::Truncated);
        assert_eq!(visit(&right[..3], true), Outcome::ResetMidway);
        assert_eq!(visit(b"", false), Outcome::EndedBefore);
        assert_eq!(visit(b"", true), Outcome::ResetBefore);
        assert_eq!(visit(right, false), Outcome::Corrupt);
        assert_eq!(visit(&right[1..5], false), Outcome::Corrupt);
    }
}

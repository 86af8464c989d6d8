//! Servers that stand in for others: each connection is served by a script.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Result;
use socket2::SockRef;

use crate::peer::{Buffers, PATIENCE};
use crate::rig::listen;

/// How often a server looks whether it is over.
const GLANCE: Duration = Duration::from_millis(20);

/// What a server does next with a connection.
#[derive(Clone, Debug)]
pub enum Act {
    /// Sends.
    Say(Vec<u8>),
    /// Waits until something comes.
    Hear,
    /// Ends its direction, and waits until the client has left.
    End,
    /// Resets the connection.
    Reset,
}

/// Sends this.
#[must_use]
pub fn say(bytes: impl AsRef<[u8]>) -> Act {
    Act::Say(bytes.as_ref().to_vec())
}

/// What a server was sent, by connection, in the order in which they came.
type Heard = Arc<Mutex<Vec<Vec<u8>>>>;

/// A server. Dropping it closes its port; who is being served keeps its thread until it leaves.
pub struct StandIn {
    stop: Arc<AtomicBool>,
    heard: Heard,
    served: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl StandIn {
    /// Serves every connection to this port of 127.0.0.1 alike, in the calling thread's namespace. What is left of a
    /// connection after its script is read until its client leaves.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn start(port: u16, script: Vec<Act>) -> Result<Self> {
        Self::in_turn(port, vec![script])
    }

    /// Serves each connection by the next script, and all that follow by the last one.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn in_turn(port: u16, scripts: Vec<Vec<Act>>) -> Result<Self> {
        let listener = listen(
            SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            Buffers::default(),
        )?;
        SockRef::from(&listener).set_read_timeout(Some(GLANCE))?;
        let stop = Arc::new(AtomicBool::new(false));
        let heard = Heard::default();
        let served = Arc::new(AtomicUsize::new(0));
        let thread = {
            let (stop, heard, served) = (stop.clone(), heard.clone(), served.clone());
            thread::spawn(move || serve_all(&listener, scripts.into(), &stop, &heard, &served))
        };
        Ok(Self {
            stop,
            heard,
            served,
            thread: Some(thread),
        })
    }

    /// What it was sent, by connection.
    #[must_use]
    pub fn heard(&self) -> Vec<Vec<u8>> {
        self.heard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// How many connections it has accepted.
    #[must_use]
    pub fn served(&self) -> usize {
        self.served.load(Ordering::Relaxed)
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve_all(
    listener: &TcpListener,
    mut scripts: VecDeque<Vec<Act>>,
    stop: &AtomicBool,
    heard: &Heard,
    served: &AtomicUsize,
) {
    while !stop.load(Ordering::Relaxed) {
        let Ok((stream, _)) = listener.accept() else {
            continue;
        };
        served.fetch_add(1, Ordering::Relaxed);
        let script = if scripts.len() > 1 {
            scripts.pop_front().unwrap_or_default()
        } else {
            scripts.front().cloned().unwrap_or_default()
        };
        let place = {
            let mut all = heard.lock().unwrap_or_else(PoisonError::into_inner);
            all.push(Vec::new());
            all.len() - 1
        };
        let heard = heard.clone();
        thread::spawn(move || serve(&stream, script, &heard, place));
    }
}

/// Failures are the client's doing.
fn serve(mut stream: &TcpStream, script: Vec<Act>, heard: &Heard, place: usize) {
    let _ = stream.set_read_timeout(Some(PATIENCE));
    let _ = stream.set_nodelay(true);
    let hear = |mut stream: &TcpStream| {
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).unwrap_or(0);
        let mut all = heard.lock().unwrap_or_else(PoisonError::into_inner);
        all[place].extend_from_slice(&buffer[..count]);
        count > 0
    };
    for act in script {
        match act {
            Act::Say(bytes) => {
                if stream.write_all(&bytes).is_err() {
                    return;
                }
            }
            Act::Hear => {
                hear(stream);
            }
            Act::End => {
                let _ = stream.shutdown(std::net::Shutdown::Write);
            }
            Act::Reset => {
                let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
                return;
            }
        }
    }
    while hear(stream) {}
}

//! Three servers that say who they are and send everything back.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use anyhow::Result;
use socket2::SockRef;

use crate::peer::{Buffers, PATIENCE};
use crate::rig::listen;

/// Each server's letter and port.
pub(super) const SERVERS: [(char, u16); 3] = [('a', 9001), ('b', 9002), ('c', 9003)];

/// The servers. Dropping them ends them; whoever is being served keeps its thread until it leaves.
pub(super) struct Servers {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Servers {
    /// Starts them in the calling thread's namespace.
    ///
    /// # Errors
    /// When one cannot listen.
    pub(super) fn start() -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for (letter, port) in SERVERS {
            let listener = listen(
                SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
                Buffers::default(),
            )?;
            // Ends the wait for a connection now and then, to look whether it is over.
            SockRef::from(&listener)
                .set_read_timeout(Some(std::time::Duration::from_millis(50)))?;
            let stop = Arc::clone(&stop);
            threads.push(thread::spawn(move || serve_all(&listener, letter, &stop)));
        }
        Ok(Self { stop, threads })
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn serve_all(listener: &TcpListener, letter: char, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        if let Ok((stream, _)) = listener.accept() {
            thread::spawn(move || serve(&stream, letter));
        }
    }
}

/// Failures are the proxy's doing, and its client learns of them.
fn serve(mut stream: &TcpStream, letter: char) {
    let _ = stream.set_read_timeout(Some(PATIENCE));
    let _ = stream.set_nodelay(true);
    let mut greeting = [0; 4];
    if stream
        .write_all(letter.encode_utf8(&mut greeting).as_bytes())
        .is_err()
    {
        return;
    }
    let mut buffer = [0; 16 << 10];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
    let _ = stream.shutdown(Shutdown::Write);
}

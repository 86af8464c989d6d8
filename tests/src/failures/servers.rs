//! Servers that fail on command.
//!
//! A question is [`QUESTION`] bytes: the seed of the answer's contents and its length. The answer is that, and an end.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use socket2::{Domain, SockRef, Socket, Type};

use super::script::Fault;
use crate::netns::Netns;
use crate::pattern::Pattern;
use crate::sys;

/// Length of a question in bytes: two numbers of 8, little-endian.
pub const QUESTION: usize = 16;

/// Connections that wait at a server that is well.
const BACKLOG: i32 = 1024;

/// Milliseconds between two looks for a command while connections may come.
const LOOK: i32 = 5;

/// How long a client of a server may take to ask.
const PATIENCE: Duration = Duration::from_secs(10);

/// What an answer takes to make: enough for servers to have several connections at a time.
const WORK: Duration = Duration::from_millis(5);

/// What it takes a slow server.
const SLOW_WORK: Duration = Duration::from_millis(400);

/// The servers. They end when this is dropped.
pub struct Servers {
    servers: Vec<Server>,
    cut: Arc<AtomicU64>,
}

struct Server {
    commands: Option<Sender<(Option<Fault>, Sender<()>)>>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Servers {
    /// Starts one at each address, in `ns`.
    ///
    /// # Errors
    /// When one cannot listen.
    pub fn start(ns: &Netns, addresses: &[SocketAddr]) -> Result<Self> {
        let cut = Arc::new(AtomicU64::new(0));
        let servers = addresses
            .iter()
            .map(|&address| {
                let listener = ns.run(|| listen(address))?;
                let (commands, received) = mpsc::channel();
                let (ns, cut) = (ns.clone(), Arc::clone(&cut));
                let thread = thread::spawn(move || {
                    ns.run(move || serve(address, listener, &received, &cut))
                });
                Ok(Server {
                    commands: Some(commands),
                    thread: Some(thread),
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self { servers, cut })
    }

    /// Has a server fail, or be well again; returns when it does.
    ///
    /// # Errors
    /// When it has ended: it could not do as it was told.
    pub fn set(&mut self, server: usize, mode: Option<Fault>) -> Result<()> {
        let server = self.servers.get_mut(server).context("no such server")?;
        let (done, wait) = mpsc::channel();
        let told = server
            .commands
            .as_ref()
            .is_some_and(|commands| commands.send((mode, done)).is_ok());
        if told && wait.recv().is_ok() {
            return Ok(());
        }
        server.stop()?;
        anyhow::bail!("a server has ended")
    }

    /// How many questions a server has taken and then not answered in full, by its fault.
    #[must_use]
    pub fn cut(&self) -> u64 {
        self.cut.load(Ordering::Relaxed)
    }

    /// Ends them.
    pub fn stop(&mut self) {
        for server in &mut self.servers {
            // What ends a server early is told by `set`.
            let _ = server.stop();
        }
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Server {
    fn stop(&mut self) -> Result<()> {
        self.commands = None;
        match self.thread.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(result)) => result,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
        }
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener> {
    let make = || -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(socket.into())
    };
    make().with_context(|| format!("listen on {address}"))
}

/// A server's thread: accepts, and does as it is told.
fn serve(
    address: SocketAddr,
    listener: TcpListener,
    commands: &Receiver<(Option<Fault>, Sender<()>)>,
    cut: &Arc<AtomicU64>,
) -> Result<()> {
    let mut listener = Some(listener);
    let mut mode = None;
    // Connections of our own that fill the backlog.
    let mut plugs: Vec<TcpStream> = Vec::new();
    loop {
        let command = match &listener {
            Some(open) if mode != Some(Fault::Hang) => {
                if sys::poll(open.as_fd(), true, false, LOOK)? {
                    accept_all(open, mode, cut)?;
                }
                match commands.try_recv() {
                    Ok(command) => command,
                    Err(TryRecvError::Empty) => continue,
                    Err(TryRecvError::Disconnected) => return Ok(()),
                }
            }
            _ => match commands.recv() {
                Ok(command) => command,
                Err(_) => return Ok(()),
            },
        };
        let done;
        (mode, done) = command;
        plugs.clear();
        match (&listener, mode) {
            (Some(open), Some(Fault::Refuse)) => {
                // Whoever is connected is answered as before: only who comes later is refused.
                accept_all(open, None, cut)?;
                listener = None;
            }
            (Some(open), Some(Fault::Hang)) => {
                accept_all(open, None, cut)?;
                SockRef::from(open).listen(0)?;
                plugs = plug(address)?;
            }
            (Some(open), _) => SockRef::from(open).listen(BACKLOG)?,
            (None, _) => listener = Some(listen(address)?),
        }
        // Nobody waits when the run is over.
        let _ = done.send(());
    }
}

fn accept_all(listener: &TcpListener, mode: Option<Fault>, cut: &Arc<AtomicU64>) -> Result<()> {
    loop {
        match listener.accept() {
            Ok((stream, _)) if mode == Some(Fault::ResetAtOnce) => {
                SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
            }
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                let cut = Arc::clone(cut);
                // Failures are for the client to tell.
                thread::spawn(move || answer(stream, mode, &cut));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            // The client has left the backlog.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => return Err(error).context("accept"),
        }
    }
}

/// Connects until the backlog takes no more.
fn plug(address: SocketAddr) -> Result<Vec<TcpStream>> {
    const MOST: usize = 64;
    const UNANSWERED: i32 = 20;
    let mut plugs = Vec::new();
    while plugs.len() < MOST {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        // It ends as soon as it is there or is not.
        let _ = socket.connect(&address.into());
        let connected = sys::poll(socket.as_fd(), false, true, UNANSWERED)?;
        plugs.push(socket.into());
        if !connected {
            return Ok(plugs);
        }
    }
    ensure!(
        plugs.len() < MOST,
        "{address} still answers with a full backlog"
    );
    Ok(plugs)
}

fn answer(mut stream: TcpStream, mode: Option<Fault>, cut: &AtomicU64) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut question = [0; QUESTION];
    // A health check asks nothing.
    stream.read_exact(&mut question)?;
    let (seed, length) = parse(&question);
    let mut contents = vec![0; usize::try_from(length).unwrap_or_default()];
    Pattern::new(seed).fill(0, &mut contents);
    let half = contents.len() / 2;
    match mode {
        Some(Fault::Slow) => {
            thread::sleep(SLOW_WORK / 2);
            stream.write_all(&contents[..half])?;
            thread::sleep(SLOW_WORK / 2);
            stream.write_all(&contents[half..])
        }
        Some(Fault::ResetMidway) => {
            thread::sleep(WORK);
            cut.fetch_add(1, Ordering::Relaxed);
            stream.write_all(&contents[..half])?;
            SockRef::from(&stream).set_linger(Some(Duration::ZERO))
        }
        _ => {
            thread::sleep(WORK);
            stream.write_all(&contents)
        }
    }
}

/// The question for `length` bytes of the contents of `seed`.
#[must_use]
pub fn question(seed: u64, length: u64) -> [u8; QUESTION] {
    let mut bytes = [0; QUESTION];
    let (first, second) = bytes.split_at_mut(8);
    first.copy_from_slice(&seed.to_le_bytes());
    second.copy_from_slice(&length.to_le_bytes());
    bytes
}

fn parse(question: &[u8; QUESTION]) -> (u64, u64) {
    let number = |from: usize| {
        let bytes: [u8; 8] = question[from..from + 8].try_into().unwrap_or_default();
        u64::from_le_bytes(bytes)
    };
    (number(0), number(8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_understood() {
        assert_eq!(parse(&question(1 << 60, 4096)), (1 << 60, 4096));
    }
}

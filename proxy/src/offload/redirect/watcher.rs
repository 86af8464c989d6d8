//! One thread that watches all sockets in the kernel's hands and the program's ring buffer, and
//! wakes the tasks that own them.
//!
//! The workers' own pollers must not watch these sockets: every redirected segment makes them
//! look readable for nothing.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::thread::JoinHandle;

use aya::maps::{MapData, RingBuf};
use aya_log::EbpfLogger;

use crate::offload::slots::{Happened, Slots};
use crate::sys::epoll::{Epoll, Event, EventFd, Interest};
use crate::sys::mmap::MappedArray;

const TOKEN_STOP: u64 = u64::MAX;
const TOKEN_RING: u64 = u64::MAX - 1;
const TOKEN_LOGS: u64 = u64::MAX - 2;

/// What an enrolled socket is always watched for; failures are reported unasked.
const RESTING: Interest = Interest::RDHUP.union(Interest::EDGE);

/// What the thread reads besides the sockets.
pub(super) struct Sources {
    pub(super) events: RingBuf<MapData>,
    /// Events that found the ring full.
    pub(super) lost: MappedArray<u64>,
    pub(super) logs: Option<EbpfLogger<&'static dyn log::Log>>,
}

/// The watcher: its thread ends when this is dropped.
#[derive(Debug)]
pub struct Watcher {
    epoll: Arc<Epoll>,
    stop: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the kernel gives no epoll, eventfd or thread.
    pub(super) fn start(slots: Arc<Slots>, mut sources: Sources) -> io::Result<Self> {
        let epoll = Arc::new(Epoll::new()?);
        let stop = Arc::new(EventFd::new()?);
        epoll.add(stop.as_fd(), TOKEN_STOP, Interest::IN)?;
        epoll.add(sources.events.as_fd(), TOKEN_RING, Interest::IN)?;
        if let Some(logs) = &sources.logs {
            epoll.add(logs.as_fd(), TOKEN_LOGS, Interest::IN)?;
        }
        let thread = std::thread::Builder::new().name("watcher".into()).spawn({
            let (epoll, stop) = (epoll.clone(), stop.clone());
            move || {
                if let Err(error) = watch(&epoll, &slots, &mut sources) {
                    // Without the watcher no offloaded flow would ever hear of its end.
                    tracing::error!(%error, "the watcher of offloaded sockets failed");
                }
                drop(stop);
            }
        })?;
        Ok(Self {
            epoll,
            stop,
            thread: Some(thread),
        })
    }

    /// Watches the socket `index` for its end and its failure.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn add(&self, fd: BorrowedFd<'_>, index: u32) -> io::Result<()> {
        self.epoll.add(fd, u64::from(index), RESTING)
    }

    /// Watches the socket also for room to write or bytes to read, until the next call.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn also(
        &self,
        fd: BorrowedFd<'_>,
        index: u32,
        writable: bool,
        readable: bool,
    ) -> io::Result<()> {
        let mut interest = RESTING;
        interest.set(Interest::OUT, writable);
        interest.set(Interest::IN, readable);
        self.epoll.modify(fd, u64::from(index), interest)
    }

    /// Stops watching a socket that goes back to its worker.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn remove(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.epoll.remove(fd)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if self.stop.notify().is_ok()
            && let Some(thread) = self.thread.take()
        {
            // A panic of the thread has been reported by its own hook.
            let _ = thread.join();
        }
    }
}

fn watch(epoll: &Epoll, slots: &Slots, sources: &mut Sources) -> io::Result<()> {
    let mut lost = 0;
    loop {
        let mut stop = false;
        let mut ring = false;
        let mut logs = false;
        epoll.wait(|Event { token, happened }| match token {
            TOKEN_STOP => stop = true,
            TOKEN_RING => ring = true,
            TOKEN_LOGS => logs = true,
            index => slots.notify(index as u32, translate(happened)),
        })?;
        if stop {
            return Ok(());
        }
        if ring {
            while let Some(event) = sources.events.next() {
                if let Some(index) = event.first_chunk::<4>() {
                    slots.notify(u32::from_ne_bytes(*index), Happened::PASSED);
                }
            }
            let now = sources.lost.load(0, 0);
            if now != lost {
                lost = now;
                slots.notify_all();
            }
        }
        if logs && let Some(logs) = &mut sources.logs {
            logs.flush();
        }
    }
}

fn translate(happened: Interest) -> Happened {
    let mut result = Happened::empty();
    // HUP without an error is both halves shut in order: the FIN is what matters.
    result.set(
        Happened::ENDED,
        happened.intersects(Interest::RDHUP | Interest::HUP),
    );
    result.set(Happened::FAILED, happened.contains(Interest::ERR));
    result.set(Happened::WRITABLE, happened.contains(Interest::OUT));
    result.set(Happened::READABLE, happened.contains(Interest::IN));
    result
}

//! One thread that hears from the programs, and wakes the tasks of the flows that they speak of.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::JoinHandle;

use aya::maps::{MapData, RingBuf};

use crate::offload::slots::{Happened, Slots};
use crate::sys::epoll::{Epoll, EventFd, Interest};
use crate::sys::mmap::MappedArray;

const TOKEN_STOP: u64 = 0;
const TOKEN_RING: u64 = 1;

/// The watcher: its thread ends when this is dropped.
#[derive(Debug)]
pub struct Watcher {
    stop: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Starts the thread. `lost` counts the events that found the ring full.
    ///
    /// # Errors
    /// When the kernel gives no epoll, eventfd or thread.
    pub(super) fn start(
        slots: Arc<Slots>,
        mut events: RingBuf<MapData>,
        lost: MappedArray<u64>,
    ) -> io::Result<Self> {
        let epoll = Epoll::new()?;
        let stop = Arc::new(EventFd::new()?);
        epoll.add(stop.as_fd(), TOKEN_STOP, Interest::IN)?;
        epoll.add(events.as_fd(), TOKEN_RING, Interest::IN)?;
        let thread = std::thread::Builder::new().name("relay".into()).spawn({
            let stop = stop.clone();
            move || {
                if let Err(error) = watch(&epoll, &slots, &mut events, &lost) {
                    // Without it no relayed flow would ever hear of its end.
                    tracing::error!(%error, "the watcher of relayed flows failed");
                }
                drop(stop);
            }
        })?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
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

fn watch(
    epoll: &Epoll,
    slots: &Slots,
    events: &mut RingBuf<MapData>,
    lost: &MappedArray<u64>,
) -> io::Result<()> {
    let mut known = 0;
    loop {
        let mut stop = false;
        epoll.wait(|event| stop |= event.token == TOKEN_STOP)?;
        if stop {
            return Ok(());
        }
        while let Some(event) = events.next() {
            if let Some(slot) = event.first_chunk::<4>() {
                // What happened is in the flow's record; its task looks there.
                slots.notify(u32::from_ne_bytes(*slot) * 2, Happened::ENDED);
            }
        }
        let now = lost.load(0, 0);
        if now != known {
            known = now;
            slots.notify_all();
        }
    }
}

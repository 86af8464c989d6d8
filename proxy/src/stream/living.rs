//! The streams that live on a worker, and what ends one from outside.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::observe::record::{FlowRecord, Termination};
use crate::worker::FrontendState;

/// Ends a stream from outside, once.
#[derive(Debug, Default)]
pub struct KillSwitch {
    thrown: Cell<Option<Termination>>,
    waker: RefCell<Option<Waker>>,
}

impl KillSwitch {
    /// Ends the stream, unless it was told to end before.
    pub fn throw(&self, termination: Termination) {
        if self.thrown.get().is_none() {
            self.thrown.set(Some(termination));
            if let Some(waker) = self.waker.take() {
                waker.wake();
            }
        }
    }

    /// What it was thrown with.
    #[must_use]
    pub fn thrown(&self) -> Option<Termination> {
        self.thrown.get()
    }

    /// Ready once it was thrown.
    pub fn poll(&self, cx: &Context<'_>) -> Poll<Termination> {
        if let Some(termination) = self.thrown.get() {
            return Poll::Ready(termination);
        }
        let mut waker = self.waker.borrow_mut();
        // A stream is one task: its waker hardly ever changes.
        if !waker.as_ref().is_some_and(|old| old.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

/// A server, by index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerAt {
    /// The backend's index.
    pub backend: usize,
    /// The server's index in its backend.
    pub server: usize,
}

/// Which streams are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whom {
    /// The stream of this number.
    Stream(u64),
    /// All streams of a server.
    Server(ServerAt),
}

/// The streams that live on a worker.
#[derive(Debug, Default)]
pub struct Living {
    streams: RefCell<BTreeMap<u64, LivingStream>>,
}

/// A stream and its frontend.
#[derive(Debug, Clone)]
pub struct LivingStream {
    /// Its record.
    pub record: Rc<FlowRecord>,
    /// Its frontend.
    pub frontend: Arc<FrontendState>,
}

impl Living {
    /// Counts a stream as living until the guard is dropped.
    pub fn enter(
        self: &Rc<Self>,
        record: &Rc<FlowRecord>,
        frontend: &Arc<FrontendState>,
    ) -> LivingGuard {
        let stream = LivingStream {
            record: Rc::clone(record),
            frontend: Arc::clone(frontend),
        };
        self.streams.borrow_mut().insert(record.id, stream);
        LivingGuard {
            living: Rc::clone(self),
            id: record.id,
        }
    }

    /// The streams that live now, by number.
    #[must_use]
    pub fn list(&self) -> Vec<LivingStream> {
        self.streams.borrow().values().cloned().collect()
    }

    /// Ends streams. Returns how many were told to.
    pub fn kill(&self, whom: Whom, termination: Termination) -> usize {
        let streams = self.list();
        let meant = streams.iter().filter(|stream| match whom {
            Whom::Stream(id) => stream.record.id == id,
            Whom::Server(at) => stream.record.place.get() == Some(at),
        });
        meant
            .map(|stream| stream.record.kill.throw(termination))
            .count()
    }
}

/// Takes a stream off the list of the living.
#[derive(Debug)]
pub struct LivingGuard {
    living: Rc<Living>,
    id: u64,
}

impl Drop for LivingGuard {
    fn drop(&mut self) {
        self.living.streams.borrow_mut().remove(&self.id);
    }
}

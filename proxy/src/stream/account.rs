//! Lets the entries that streams track know of the bytes that they move, also while the kernel
//! moves them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use crate::observe::record::FlowRecord;
use crate::rules::scene::Millis;
use crate::rules::session::Session;

/// How often living streams are accounted for. Rates are over seconds and longer.
pub const INTERVAL: Duration = Duration::from_millis(200);

/// The streams of a worker whose bytes stick tables count.
#[derive(Debug, Default)]
pub struct Accounts {
    open: RefCell<BTreeMap<u64, Rc<Books>>>,
}

/// What a stream has been accounted for.
#[derive(Debug)]
struct Books {
    session: Rc<RefCell<Session>>,
    record: Rc<FlowRecord>,
    /// Bytes of the client and of the server.
    counted: Cell<[u64; 2]>,
}

impl Books {
    fn settle(&self, now: Millis) {
        let moved = [self.record.up.bytes(), self.record.down.bytes()];
        let [up, down] = self.counted.replace(moved);
        if moved == [up, down] {
            return;
        }
        for entry in self.session.borrow().tracked.iter().flatten() {
            entry.add_bytes_in(moved[0] - up, now);
            entry.add_bytes_out(moved[1] - down, now);
        }
    }
}

/// A stream's account, to be closed at its end. What the session tracks is given back then.
#[derive(Debug)]
pub struct Account<'a> {
    accounts: &'a Accounts,
    /// `None`: the session tracks nothing, and never will.
    books: Option<Rc<Books>>,
}

impl Accounts {
    /// Opens the account of a stream whose rules have tracked all that they may.
    pub fn open(&self, session: &Rc<RefCell<Session>>, record: &Rc<FlowRecord>) -> Account<'_> {
        let tracks = session.borrow().tracked.iter().any(Option::is_some);
        let books = tracks.then(|| {
            let books = Rc::new(Books {
                session: Rc::clone(session),
                record: Rc::clone(record),
                counted: Cell::default(),
            });
            self.open.borrow_mut().insert(record.id, Rc::clone(&books));
            books
        });
        Account {
            accounts: self,
            books,
        }
    }

    /// Accounts for what living streams have moved since the last time.
    pub fn settle(&self, now: Millis) {
        for books in self.open.borrow().values() {
            books.settle(now);
        }
    }
}

impl Account<'_> {
    /// Accounts for what was moved up to now.
    pub fn settle(&self, now: Millis) {
        if let Some(books) = &self.books {
            books.settle(now);
        }
    }

    /// Accounts for the last bytes, and gives back what the session tracks.
    pub fn close(self, now: Millis) {
        let Some(books) = &self.books else {
            return;
        };
        books.settle(now);
        for place in &mut books.session.borrow_mut().tracked {
            if let Some(entry) = place.take() {
                entry.release(now);
            }
        }
    }
}

impl Drop for Account<'_> {
    fn drop(&mut self) {
        if let Some(books) = &self.books {
            self.accounts.open.borrow_mut().remove(&books.record.id);
        }
    }
}

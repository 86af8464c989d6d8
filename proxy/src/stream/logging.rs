//! What a stream's line needs besides its record, and when the line is written. A frontend without a
//! format of its own takes no notes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use socket2::SockRef;

use crate::backend::{Backend, Server};
use crate::config::model::{BindAddress, ServerAddress, ServerPort};
use crate::conn::Connection;
use crate::conn::data::ssl::SslSock;
use crate::handshake::incoming::Incoming;
use crate::observe::log::format::{Formats, Shows};
use crate::observe::log::{self, Concurrency, Notes, StreamLine};
use crate::observe::record::{FlowRecord, Termination};
use crate::rules::cast;
use crate::rules::run::Sight;
use crate::rules::scene::Place;
use crate::rules::session::Session;
use crate::sys::socket;
use crate::worker::{FrontendState, Worker};

/// A stream whose line is to be written.
#[derive(Debug, Clone, Copy)]
pub struct Logging<'a> {
    worker: &'a Worker,
    frontend: &'a FrontendState,
    bind: usize,
    record: &'a FlowRecord,
}

/// Which expressions are evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    All,
    /// Those that do not look at the client's connection.
    Others,
}

impl<'a> Logging<'a> {
    /// Of a stream that came to the frontend's listening address of this index.
    #[must_use]
    pub fn new(
        worker: &'a Worker,
        frontend: &'a FrontendState,
        bind: usize,
        record: &'a FlowRecord,
    ) -> Self {
        Self {
            worker,
            frontend,
            bind,
            record,
        }
    }

    /// The backend, once chosen.
    fn backend(&self) -> Option<&'a Backend> {
        let index = self.record.backend_index.get()?;
        self.worker
            .shared
            .backends
            .get(index)
            .map(|backend| &**backend)
    }

    fn formats(&self) -> Option<&'a Formats> {
        self.frontend.config.log.formats.as_deref()
    }

    /// The stream begins.
    pub fn begin(&self, incoming: &mut Incoming) {
        let Some(formats) = self.formats() else {
            return;
        };
        if formats.shows.contains(Shows::DESTINATION) || formats.has_expressions() {
            incoming.session.destination = incoming.local_address();
        }
        let facts = incoming.connection.ssl().and_then(SslSock::facts);
        self.take_notes(Notes {
            destination: incoming.session.destination,
            tls: facts.map(|facts| (facts.version, facts.cipher)),
            ..Notes::default()
        });
    }

    fn take_notes(&self, notes: Notes) {
        let bind = self.frontend.binds.get(self.bind);
        *self.record.notes.borrow_mut() = Some(Box::new(Notes {
            number: self.worker.logger.next_number(),
            listener: bind.map_or(0, |bind| bind.id),
            ..notes
        }));
    }

    /// Notes whether the client has said something by now, where that makes a difference.
    pub fn listen(&self, incoming: &Incoming) {
        let heard = &self.record.heard;
        if self.frontend.config.log.dontlognull && !heard.get() {
            let waits = || socket::peek(incoming.connection.fd(), &mut [0]);
            heard.set(!incoming.received.held().is_empty() || waits().is_ok_and(|bytes| bytes > 0));
        }
    }

    /// Rules have been asked, and have chosen a backend or have not.
    pub fn admitted(&self, incoming: &Incoming) {
        self.listen(incoming);
        if let Some(formats) = self.formats() {
            let sight = sight(incoming, self.backend(), None);
            self.evaluate(formats, Which::All, &incoming.session, sight);
            self.name(formats);
        }
    }

    /// Gives the stream its `unique-id-format`.
    fn name(&self, formats: &Formats) {
        if let Some(format) = &formats.unique_id {
            let line = StreamLine::new(self.record, None, Concurrency::default(), Instant::now());
            let mut id = Vec::new();
            line.noting(self.record).write(format, "", &mut id);
            if let Some(notes) = self.record.notes.borrow_mut().as_mut() {
                notes.unique_id = Some(String::from_utf8_lossy(&id).into_owned());
            }
        }
    }

    /// The server was reached by this connection.
    pub fn reached(&self, incoming: &Incoming, server: &Server, connection: &Connection) {
        let Some(formats) = self.formats() else {
            return;
        };
        let sight = sight(incoming, self.backend(), Some(server));
        self.evaluate(formats, Which::All, &incoming.session, sight);
        if formats.shows.contains(Shows::ENDS)
            && let Some(notes) = self.record.notes.borrow_mut().as_mut()
        {
            let fd = connection.fd();
            let socket = SockRef::from(&fd);
            // A connection that is gone already has no addresses any more.
            let inet = |address: std::io::Result<socket2::SockAddr>| address.ok()?.as_socket();
            notes.source = inet(socket.local_addr());
            notes.server = inet(socket.peer_addr());
        }
    }

    /// Data may flow: writes the line of a frontend that logs now.
    pub fn begun(&self, concurrency: Concurrency) {
        let options = &self.frontend.config.log;
        if let Some(level) = log::at_the_beginning(options, self.record) {
            self.record.logged.set(true);
            self.send(self.line(None, concurrency).at(level));
        }
    }

    /// The stream has ended. What it tracks is still tracked.
    pub fn ended(&self, session: &Session, server: Option<&Arc<Server>>) {
        if let Some(formats) = self.formats().filter(|_| !self.record.logged.get()) {
            let sight = Sight {
                last_look: true,
                backend: self.backend().map(backend_place),
                server: server.map(|server| server_place(server)),
                ..Sight::default()
            };
            self.evaluate(formats, Which::Others, session, sight);
        }
    }

    /// Writes the line of a stream that has ended, if it is to have one.
    pub fn log(&self, termination: Termination, concurrency: Concurrency) {
        let options = &self.frontend.config.log;
        if let Some(level) = log::at_the_end(options, self.record, termination) {
            self.note_last_server();
            self.send(self.line(Some(termination), concurrency).at(level));
        }
    }

    /// Of a stream that did not reach its server: where it would have been.
    fn note_last_server(&self) {
        let mut notes = self.record.notes.borrow_mut();
        let Some(notes) = notes.as_mut().filter(|notes| notes.server.is_none()) else {
            return;
        };
        let server = self.record.place.get().and_then(|at| {
            let backend = self.worker.shared.backends.get(at.backend)?;
            backend.servers.get(at.server)
        });
        notes.server =
            server.and_then(
                |server| match (&server.config.address, server.config.port) {
                    (ServerAddress::Inet(address), ServerPort::Fixed) => Some(*address),
                    _ => None,
                },
            );
    }

    /// Writes the line of a connection that became no stream in the frontend's format for such;
    /// `false`: it has none.
    pub fn failed(&self, level: u8, concurrency: Concurrency) -> bool {
        let Some(formats) = self.formats().filter(|formats| formats.error.is_some()) else {
            return false;
        };
        self.take_notes(Notes {
            destination: self.bind_address(),
            ..Notes::default()
        });
        let session = Session::new(self.record.client);
        let sight = Sight {
            last_look: true,
            ..Sight::default()
        };
        self.evaluate(formats, Which::All, &session, sight);
        let line = self.line(Some(Termination::REQUEST_REFUSED), concurrency);
        self.send(line.of_an_error().at(level));
        true
    }

    /// The configured address, where it is one.
    fn bind_address(&self) -> Option<SocketAddr> {
        match self.frontend.config.binds.get(self.bind)?.address {
            BindAddress::Inet(address) if !address.ip().is_unspecified() => Some(address),
            _ => None,
        }
    }

    fn line(&self, termination: Option<Termination>, concurrency: Concurrency) -> StreamLine {
        StreamLine::new(self.record, termination, concurrency, Instant::now())
            .formatted(&self.frontend.config.log, self.record)
    }

    fn send(&self, line: StreamLine) {
        self.worker.logger.stream(&self.frontend.logs, line);
    }

    /// Keeps the values of expressions as they are now.
    fn evaluate(&self, formats: &Formats, which: Which, session: &Session, sight: Sight<'_>) {
        let mut notes = self.record.notes.borrow_mut();
        let Some(notes) = notes.as_mut().filter(|_| formats.has_expressions()) else {
            return;
        };
        let values = &mut notes.values;
        values.resize(formats.expressions.len(), None);
        let setting = self.worker.setting(self.frontend, self.bind);
        setting.look(session, sight, |scene| {
            for (expression, value) in formats.expressions.iter().zip(values) {
                if which == Which::Others && expression.of_connection {
                    continue;
                }
                let found = expression.expr.evaluate(scene).value();
                *value = found.map(|found| cast::string(found, scene.arena).into());
            }
        });
    }
}

fn backend_place(backend: &Backend) -> Place<'_> {
    Place {
        index: backend.index,
        name: &backend.config.name,
    }
}

fn server_place(server: &Server) -> Place<'_> {
    Place {
        index: server.index,
        name: &server.config.name,
    }
}

/// What there is to look at while the client's connection is at hand.
fn sight<'a>(
    incoming: &'a Incoming,
    backend: Option<&'a Backend>,
    server: Option<&'a Server>,
) -> Sight<'a> {
    Sight {
        last_look: true,
        client_tcp: Some(&incoming.connection),
        proxy: incoming.proxy.as_deref(),
        tls: incoming.connection.ssl(),
        backend: backend.map(backend_place),
        server: server.map(server_place),
        ..Sight::default()
    }
}

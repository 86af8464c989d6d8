//! SSL_HS: the TLS handshake, on either side.

use std::rc::Rc;

use super::Outcome;
use super::incoming::{Entrance, Incoming};
use crate::channel::buffer::Buffer;
use crate::conn::Connection;
use crate::conn::data::ssl::{self, Handshake, SslSock};
use crate::conn::end::Reason;
use crate::conn::op::Step;

/// The server's side: reads what the client asks for, chooses the certificate's configuration by
/// it, and goes on from there.
pub(super) fn accept(entrance: &Entrance<'_>, incoming: &mut Incoming) -> Result<Outcome, Reason> {
    let Some(context) = entrance.tls else {
        return Ok(Outcome::DONE);
    };
    if incoming.connection.is_raw() {
        incoming.connection.start(Step::DataAccept);
        let received = std::mem::replace(&mut incoming.received, Buffer::empty());
        let session = SslSock::server(Rc::clone(entrance.pool), received);
        incoming.connection.secure(Box::new(session));
    }
    loop {
        let Some((session, socket)) = incoming.connection.ssl_mut() else {
            return Ok(Outcome::DONE);
        };
        match session.handshake(socket).map_err(|e| ssl::reason(&e))? {
            Handshake::Input => return Ok(Outcome::Input),
            Handshake::Output => return Ok(Outcome::Output),
            Handshake::Done => {
                incoming.connection.finish(Step::DataAccept);
                return Ok(Outcome::DONE);
            }
            Handshake::Hello => {
                let Some(hello) = session.client_hello() else {
                    return Ok(Outcome::DONE);
                };
                let Some(choice) = context.choose_for(&hello) else {
                    let name = hello.server_name().unwrap_or("-");
                    let words = format!("no certificate for the name {name}");
                    session.refuse(socket, ssl::UNRECOGNIZED_NAME);
                    return Err(Reason::Protocol(words.into()));
                };
                session
                    .serve(choice)
                    .map_err(|error| Reason::Protocol(error.to_string().into()))?;
            }
        }
    }
}

/// The client's side: goes on with the session that is in place.
pub(super) fn connect(connection: &mut Connection) -> Result<Outcome, Reason> {
    connection.start(Step::DataConnect);
    let Some((session, socket)) = connection.ssl_mut() else {
        return Ok(Outcome::DONE);
    };
    match session.handshake(socket).map_err(|e| ssl::reason(&e))? {
        Handshake::Input | Handshake::Hello => Ok(Outcome::Input),
        Handshake::Output => Ok(Outcome::Output),
        Handshake::Done => {
            connection.finish(Step::DataConnect);
            Ok(Outcome::DONE)
        }
    }
}

//! Runs the handlers of a connection to a server.

use super::incoming::{after_try, turn_for};
use super::remote::{self, Errand};
use super::turns::Turns;
use super::{Failure, Handlers, Outcome, send_proxy, ssl};
use crate::conn::Connection;
use crate::conn::data::ssl::SslSock;
use crate::conn::end::{Handler, Reason};
use crate::conn::op::Step;

/// What a connection to a server owes.
#[derive(Debug)]
pub struct Departure<'a> {
    /// What to ask the agent that the socket goes to.
    pub errand: Option<Errand>,
    /// The PROXY header to send; empty: none.
    pub header: Vec<u8>,
    /// Bytes of it that are out.
    pub sent: usize,
    /// Something follows the header at once.
    pub more_follows: bool,
    /// The TLS session to begin.
    pub tls: Option<Box<SslSock>>,
    /// The worker's queue for cryptography.
    pub turns: &'a Turns,
}

/// Runs them. The caller bounds the time.
///
/// # Errors
/// Which step failed and why.
pub async fn run(connection: &mut Connection, mut departure: Departure<'_>) -> Result<(), Failure> {
    let mut owed = Handlers::empty();
    // The step is owed since there is the socket.
    owed.set(Handlers::REMOTE, departure.errand.is_some());
    if !departure.header.is_empty() {
        owed |= Handlers::SEND_PROXY;
        connection.want(Step::SendHeader);
    }
    if let Some(session) = departure.tls.take() {
        owed |= Handlers::SSL_HS;
        connection.want(Step::DataConnect);
        connection.secure(session);
    }
    while let Some(handler) = owed.first() {
        let turn = turn_for(handler, departure.turns).await;
        let outcome = match handler {
            Handler::Remote => match &mut departure.errand {
                Some(errand) => remote::step(connection, errand),
                None => Ok(Outcome::DONE),
            },
            Handler::SendProxy => send_proxy::step(connection, &mut departure),
            _ => ssl::connect(connection),
        };
        after_try(connection, &outcome, turn).await;
        let failed = |reason| Failure { handler, reason };
        let waited = match outcome.map_err(failed)? {
            Outcome::Done(_) | Outcome::Over | Outcome::Denied(_) => {
                owed.remove(Handlers::only(handler));
                continue;
            }
            Outcome::Input => connection.readable().await,
            Outcome::Output => connection.writable().await,
        };
        waited.map_err(|error| failed(Reason::from(&error)))?;
    }
    connection.established();
    Ok(())
}

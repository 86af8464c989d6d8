//! An agent's answer to whoever asked it for a connection: before the stream's first byte, or in its
//! place.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use crate::conn::ctrl::remote::codec::{Answer, Status};
use crate::conn::end::{EndHistory, Handler, Layer, Reason};
use crate::conn::op::Step;
use crate::conn::shutdown::AbortLimits;
use crate::conn::{Connection, Side};
use crate::handshake::Failure;
use crate::observe::record::FlowRecord;
use crate::sys::socket;

/// How much may still come, and for how long, behind a request that was refused.
const LAST_WORDS: AbortLimits = AbortLimits {
    bytes: 1 << 20,
    time: Duration::from_secs(5),
};

/// Says that the connection is there.
///
/// # Errors
/// What became of the socket of whoever asked.
pub async fn connected(client: &mut Connection, server: &Connection) -> io::Result<()> {
    let local = socket2::SockRef::from(&server.fd()).local_addr();
    let answer = Answer {
        status: Status::Connected,
        local: local.ok().and_then(|address| address.as_socket()),
        reason: String::new(),
    };
    send(client, &answer).await
}

/// Says why there is no connection, and ends.
pub async fn refused(mut client: Connection, record: &FlowRecord) {
    let answer = explain(record);
    if let Err(error) = send(&mut client, &answer).await {
        tracing::debug!(flow = record.id, %error, "a refusal could not be sent");
        return client.reset();
    }
    let mut history = EndHistory::new();
    client.abort_read(LAST_WORDS, &mut history).await;
}

async fn send(client: &mut Connection, answer: &Answer) -> io::Result<()> {
    client.want(Step::ResponseHeader);
    client.start(Step::ResponseHeader);
    let bytes = answer.encode();
    let mut sent = 0;
    while sent < bytes.len() {
        match socket::send(client.fd(), &bytes[sent..], false) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                client.found_full();
                client.writable().await?;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    client.finish(Step::ResponseHeader);
    Ok(())
}

/// What the record knows of why the target was not reached.
fn explain(record: &FlowRecord) -> Answer {
    let ends = record.ends[Side::Server.index()].borrow();
    let Some(end) = ends.first() else {
        return answer(Status::Failed, "no connection".to_owned());
    };
    let status = match (end.layer, &end.reason) {
        (Layer::Handshake(Handler::Ssl), _) => Status::TlsFailed,
        (_, Reason::Refused | Reason::PeerReset) => Status::Refused,
        (_, Reason::Unreachable) => Status::Unreachable,
        (_, Reason::Timeout) => Status::Timeout,
        _ => Status::Failed,
    };
    let reason = match end.layer {
        Layer::Handshake(handler) => {
            let reason = end.reason.clone();
            Failure { handler, reason }.to_string()
        }
        _ => match &end.reason {
            Reason::Os(number) => io::Error::from_raw_os_error(*number).to_string(),
            reason => reason.to_string(),
        },
    };
    answer(status, reason)
}

fn answer(status: Status, reason: String) -> Answer {
    Answer {
        status,
        local: None::<SocketAddr>,
        reason,
    }
}

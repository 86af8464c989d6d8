//! One question to one name server: over UDP, and over TCP where the answer does not fit.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::question::{Answer, Failure, Question};
use super::wire::{self, Reply, Sent};
use crate::config::model::names::Nameserver;

/// Why there is no answer at all.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// The name server was silent.
    #[error("no answer in time")]
    Silence,
    /// The query could not be sent, or the answer not be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The name is none.
    #[error("{0}")]
    Name(#[from] hickory_proto::ProtoError),
}

/// Asks, and waits for the answer for as long as `patience`.
///
/// # Errors
/// When there is none.
pub async fn ask(
    nameserver: &Nameserver,
    question: &Question,
    payload: u16,
    patience: Duration,
) -> Result<Result<Answer, Failure>, Lost> {
    let sent = wire::query(question, payload)?;
    let all = async {
        if !nameserver.tcp {
            match by_udp(nameserver.address, &sent, payload).await? {
                Reply::Whole(answer) => return Ok(answer),
                Reply::Truncated => {}
            }
        }
        match by_tcp(nameserver.address, &sent).await {
            Ok(Reply::Whole(answer)) => Ok(answer),
            Ok(Reply::Truncated) => Ok(Err(Failure::Truncated)),
            Err(error) if nameserver.tcp => Err(error.into()),
            // It did answer, by UDP.
            Err(_) => Ok(Err(Failure::Truncated)),
        }
    };
    timeout(patience, all).await.unwrap_or(Err(Lost::Silence))
}

/// Every query has a socket, and by that a port, of its own: who wants to forge an answer has to guess
/// it besides the query's number.
async fn by_udp(to: SocketAddr, sent: &Sent, payload: u16) -> io::Result<Reply> {
    let any = match to {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(to).await?;
    socket.send(&sent.bytes).await?;
    let mut answer = vec![0; usize::from(payload.max(512))];
    loop {
        let length = socket.recv(&mut answer).await?;
        if let Some(reply) = wire::read(sent, &answer[..length]) {
            return Ok(reply);
        }
    }
}

async fn by_tcp(to: SocketAddr, sent: &Sent) -> io::Result<Reply> {
    let mut stream = TcpStream::connect(to).await?;
    let length = u16::try_from(sent.bytes.len()).map_err(io::Error::other)?;
    let mut message = length.to_be_bytes().to_vec();
    message.extend_from_slice(&sent.bytes);
    stream.write_all(&message).await?;
    loop {
        let length = stream.read_u16().await?;
        let mut answer = vec![0; usize::from(length)];
        stream.read_exact(&mut answer).await?;
        if let Some(reply) = wire::read(sent, &answer) {
            return Ok(reply);
        }
    }
}

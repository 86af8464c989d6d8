//! One client of the runtime API: reads commands, writes answers.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::lines::{Found, Lines};
use crate::admin::commands::{self, Answer, Api, Client};
use crate::config::model::StatsLevel;

/// How much is read at once.
const READ: usize = 4096;

/// Serves a client until it leaves, has its answers, or is idle for too long.
///
/// # Errors
/// When its connection fails, or it does not take its answer in time.
pub(super) async fn serve<S>(
    mut stream: S,
    level: StatsLevel,
    timeout: Duration,
    api: &Api,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut client = Client::new(level, timeout);
    let mut lines = Lines::new(api.operator.shared.global.bufsize);
    let mut answered = false;
    loop {
        match lines.take() {
            Found::Command(line, payload) => {
                let answer = commands::obey(&line, payload, api, &mut client).await;
                if client.leaving {
                    break;
                }
                write_answer(&mut stream, answer, &client).await?;
                answered = true;
            }
            Found::PayloadLine => {
                if client.interactive {
                    write(&mut stream, b"+ ", &client).await?;
                }
            }
            Found::Nothing => {
                // Commands that came with the first one are answered, nothing else is waited for.
                if answered && !client.interactive && lines.is_empty() {
                    break;
                }
                let mut buffer = [0; READ];
                let reading = stream.read(&mut buffer);
                let count = tokio::time::timeout(client.timeout, reading).await??;
                if count == 0 {
                    break;
                }
                lines.push(&buffer[..count]);
            }
            Found::TooLong => break,
        }
    }
    stream.shutdown().await
}

async fn write_answer<S>(stream: &mut S, answer: Answer, client: &Client) -> io::Result<()>
where
    S: AsyncWrite + Unpin,
{
    match answer {
        Answer::Done => {}
        Answer::Said(severity, text) => {
            let text = format!("{}{text}", client.prefix(severity));
            write(stream, text.as_bytes(), client).await?;
        }
        Answer::Dump(text) => write(stream, text.as_bytes(), client).await?,
        Answer::Pieces(pieces) => {
            for piece in pieces {
                write(stream, piece.as_bytes(), client).await?;
            }
        }
    }
    let end: &[u8] = if client.interactive { b"\n> " } else { b"\n" };
    write(stream, end, client).await
}

/// Writes all; each part of it within the client's time.
async fn write<S>(stream: &mut S, mut bytes: &[u8], client: &Client) -> io::Result<()>
where
    S: AsyncWrite + Unpin,
{
    while !bytes.is_empty() {
        let count = tokio::time::timeout(client.timeout, stream.write(bytes)).await??;
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = &bytes[count..];
    }
    Ok(())
}

//! The small HTTP server that `cargo xtask run` puts behind the daemon.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use anyhow::{Context as _, Result};

use crate::http::{self, BULK_SIZE, HEAD_LIMIT, Page, Request};

/// Serves on `address`, one thread per connection, until this program ends.
///
/// # Errors
///
/// If the address cannot be listened on.
pub(crate) fn start(address: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(address)
        .with_context(|| format!("the demonstration's server cannot listen on {address}"))?;
    thread::Builder::new()
        .name("demo-server".into())
        .spawn(move || {
            for connection in listener.incoming().flatten() {
                // A client that goes away, and a thread too many, are no concern of the others.
                let _ = thread::Builder::new().spawn(move || serve(connection));
            }
        })
        .context("cannot start a thread")?;
    Ok(())
}

fn serve(mut connection: TcpStream) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut unread = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let Some(length) = http::head_length(&unread) else {
            let count = connection.read(&mut piece)?;
            if count == 0 || unread.len() + count > HEAD_LIMIT {
                return Ok(());
            }
            unread.extend_from_slice(&piece[..count]);
            continue;
        };
        let request = http::parse(&unread[..length]);
        unread.drain(..length);
        answer(&mut connection, request)?;
        if !request.keep_alive {
            return Ok(());
        }
    }
}

fn answer(connection: &mut TcpStream, request: Request) -> io::Result<()> {
    let mut first = http::answer_head(request);
    if request.body {
        first.push_str(request.page.text());
    }
    connection.write_all(first.as_bytes())?;
    if request.body && request.page == Page::Bulk {
        io::copy(&mut io::repeat(0).take(BULK_SIZE), connection)?;
    }
    Ok(())
}

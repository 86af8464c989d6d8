//! Both ends of a flow at once, whichever of them speak TLS.

use std::net::Shutdown;
use std::sync::atomic::AtomicU64;
use std::thread;

use crate::pattern::Pattern;
use crate::peer::{End, Exchange, Peer, Segments};
use crate::tls_end::TlsEnd;
use crate::tls_peer::{Close, Talk, TlsPeer};

/// One end of a flow, whatever it speaks.
pub trait Endpoint: Send {
    /// Sends `bytes` of `send` from `offset` on, ends its direction in order, and meanwhile receives `receive` to its
    /// end.
    ///
    /// # Panics
    /// When the received bytes are not exactly `expected`, or either end is not orderly.
    fn exchange(
        &mut self,
        who: &str,
        send: (Pattern, u64),
        receive: (Pattern, u64),
        exchange: &Exchange,
    );
}

impl Endpoint for TlsPeer {
    fn exchange(
        &mut self,
        who: &str,
        send: (Pattern, u64),
        receive: (Pattern, u64),
        exchange: &Exchange,
    ) {
        let (sent, got) = self.talk(Talk {
            send: send.0,
            bytes: send.1,
            close: Close::Notify,
            receive: receive.0,
            most: u64::MAX,
            offset: exchange.offset,
        });
        let hang_up = || {
            let _ = self.socket().shutdown(Shutdown::Both);
        };
        if sent.is_err() || got.end != TlsEnd::Closed || got.bytes != receive.1 {
            hang_up();
            panic!(
                "{who} sent {sent:?}, expected {} bytes and close_notify, got {got}",
                receive.1
            );
        }
    }
}

impl Endpoint for Peer {
    fn exchange(
        &mut self,
        who: &str,
        send: (Pattern, u64),
        receive: (Pattern, u64),
        exchange: &Exchange,
    ) {
        let peer = &*self;
        thread::scope(|scope| {
            scope.spawn(|| {
                let sent = peer.send_counted(
                    send.0,
                    exchange.offset,
                    send.1,
                    Segments::Random(64 * 1024),
                    &AtomicU64::new(0),
                );
                assert!(sent.error.is_none(), "{who} sending: {sent:?}");
                peer.finish();
            });
            let got =
                peer.receive_counted(receive.0, exchange.offset, u64::MAX, &AtomicU64::new(0));
            if got.end != End::Eof || got.bytes != receive.1 {
                // So that the sender, and the other end, do not wait.
                let _ = peer.socket().shutdown(Shutdown::Both);
                panic!("{who} expected {} bytes and the end, got {got}", receive.1);
            }
        });
    }
}

/// Runs `exchange` between two ends of one flow, and closes both.
///
/// # Panics
/// When anything is missing, wrong, or ends out of order.
pub fn run(exchange: &Exchange, mut client: impl Endpoint, mut server: impl Endpoint) {
    let up = (exchange.up_pattern(), exchange.up);
    let down = (exchange.down_pattern(), exchange.down);
    thread::scope(|scope| {
        scope.spawn(|| client.exchange("client", up, down, exchange));
        scope.spawn(|| server.exchange("server", down, up, exchange));
    });
}

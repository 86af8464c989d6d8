//! How relayed flows end when packets of their end are lost or cross one another. That each end is passed on at all is
//! in `places`.

use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::sync::atomic::AtomicU64;

use underpass_tests::daemon::BOUND;
use underpass_tests::netns::Layout;
use underpass_tests::peer::{Peer, Segments};
use underpass_tests::process::eventually;
use underpass_tests::rig::{Path, Rig};
use underpass_tests::sys;
use underpass_tests::weather::blockade::{Blockade, Way};

use crate::{newest, relayed, talk};

/// The connection of `peer` is over, and was not reset.
fn expect_closed(who: &str, peer: &Peer) {
    let socket = peer.socket();
    let is_over = || sys::is_closed(socket.as_fd()).unwrap();
    assert!(eventually(BOUND, is_over), "{who} still waits");
    let error = socket.take_error().unwrap();
    assert!(error.is_none(), "{who}: {error:?}");
}

/// Packets have been kept out.
fn expect_met(blockade: &Blockade) {
    let is_met = || blockade.met().unwrap() > 0;
    assert!(eventually(BOUND, is_met), "nothing was kept out");
}

/// Both FINs are on their way before either end has got the other's.
#[test]
fn ends_that_cross() {
    let rig = Rig::new(Layout::Hosts, Path::Relay);
    for count in 1..=3 {
        let (client, server, carried) = relayed(&rig);
        let hosts = [&rig.net.client, &rig.net.server];
        let blockades = hosts.map(|host| Blockade::new(host, "eth0", Way::In).unwrap());
        client.finish();
        server.finish();
        blockades.iter().for_each(expect_met);
        drop(blockades);
        client.expect_eof();
        server.expect_eof();
        // Whichever of the two is told first waits for what may come late.
        let record = newest(&rig, count, carried, carried, "--");
        assert_eq!(record.history.as_deref(), Some("-"), "{}", record.line);
    }
    rig.stop();
}

/// The last acknowledgement is lost behind the relay, which takes the flow for over: the FIN that is sent again is still
/// brought to the one who can acknowledge it.
fn last_fin_again(first_is_client: bool) {
    let rig = Rig::new(Layout::Hosts, Path::Relay);
    let (client, server, carried) = relayed(&rig);
    let (first, last, host) = if first_is_client {
        (client, server, &rig.net.server)
    } else {
        (server, client, &rig.net.client)
    };
    first.finish();
    last.expect_eof();
    let blockade = Blockade::new(host, "eth0", Way::In).unwrap();
    last.finish();
    first.expect_eof();
    newest(&rig, 1, carried, carried, "--");
    expect_met(&blockade);
    assert!(!sys::is_closed(last.socket().as_fd()).unwrap());
    drop(blockade);
    expect_closed("who ended last", &last);
    rig.stop();
}

#[test]
fn last_fin_of_the_server_again() {
    last_fin_again(true);
}

#[test]
fn last_fin_of_the_client_again() {
    last_fin_again(false);
}

/// The last acknowledgement is lost before the relay has seen it: the flow is not over before it comes.
fn last_fin_unanswered(first_is_client: bool) {
    let rig = Rig::new(Layout::Hosts, Path::Relay);
    let (client, server, carried) = relayed(&rig);
    let (first, last, host) = if first_is_client {
        (client, server, &rig.net.client)
    } else {
        (server, client, &rig.net.server)
    };
    first.finish();
    last.expect_eof();
    let blockade = Blockade::new(host, "eth0", Way::Out).unwrap();
    last.finish();
    first.expect_eof();
    expect_met(&blockade);
    assert!(rig.daemon.records().is_empty());
    drop(blockade);
    expect_closed("who ended last", &last);
    newest(&rig, 1, carried, carried, "--");
    rig.stop();
}

#[test]
fn last_fin_of_the_server_unanswered() {
    last_fin_unanswered(true);
}

#[test]
fn last_fin_of_the_client_unanswered() {
    last_fin_unanswered(false);
}

/// The bytes before a FIN are lost, the FIN comes alone: whoever receives it waits for the bytes.
#[test]
fn fin_that_overtakes_its_bytes() {
    let rig = Rig::new(Layout::Hosts, Path::Relay);
    for (count, from_client) in [(1, true), (2, false)] {
        let (client, server, carried) = relayed(&rig);
        let pattern = if from_client {
            crate::up()
        } else {
            crate::down()
        };
        let (from, to, host) = if from_client {
            (&client, &server, &rig.net.client)
        } else {
            (&server, &client, &rig.net.server)
        };
        let blockade = Blockade::new(host, "eth0", Way::Out).unwrap();
        from.send_all(pattern, carried, 3000);
        expect_met(&blockade);
        drop(blockade);
        from.finish();
        to.receive_exact(pattern, carried, 3000);
        to.expect_eof();
        to.finish();
        from.expect_eof();
        let [up, down] = [from_client, !from_client].map(|sent| carried + 3000 * u64::from(sent));
        newest(&rig, count, up, down, "--");
    }
    rig.stop();
}

/// A reset that is lost is sent again by whoever has no such connection any more.
#[test]
fn lost_reset() {
    let rig = Rig::new(Layout::Hosts, Path::Relay);
    for (count, from_client) in [(1, true), (2, false)] {
        let (client, server, carried) = relayed(&rig);
        let pattern = if from_client {
            crate::down()
        } else {
            crate::up()
        };
        let (from, to, host) = if from_client {
            (client, server, &rig.net.client)
        } else {
            (server, client, &rig.net.server)
        };
        let blockade = Blockade::new(host, "eth0", Way::Out).unwrap();
        from.abort();
        expect_met(&blockade);
        drop(blockade);
        // An acknowledgement that was still owed may have asked already.
        let sent = to.send_counted(
            pattern,
            carried,
            100,
            Segments::Fixed(100),
            &AtomicU64::new(0),
        );
        match sent.error {
            Some(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
            None => crate::expect_reset("the other end", &to),
        }
        let letters = if from_client { "CD" } else { "SD" };
        let record = &rig.records(count)[count - 1];
        // What crosses the reset is counted if the relay sees it first.
        let seen = if from_client {
            record.down - carried
        } else {
            record.up.unwrap() - carried
        };
        assert!(seen == 0 || seen == 100, "{}", record.line);
        let [up, down] = [!from_client, from_client].map(|sent| carried + seen * u64::from(sent));
        newest(&rig, count, up, down, letters);
    }
    rig.stop();
}

/// A link is gone for longer than the daemon's patience with anything but silence.
#[test]
fn a_broken_link_heals() {
    let rig = Rig::new(Layout::Hosts, Path::Relay);
    let (client, server, carried) = relayed(&rig);
    let hosts = [&rig.net.client, &rig.net.server];
    let blockades = hosts.map(|host| Blockade::new(host, "eth0", Way::Out).unwrap());
    client.send_all(crate::up(), carried, 40_000);
    server.send_all(crate::down(), carried, 40_000);
    blockades.iter().for_each(expect_met);
    drop(blockades);
    server.receive_exact(crate::up(), carried, 40_000);
    client.receive_exact(crate::down(), carried, 40_000);
    let carried = talk(&client, &server, carried + 40_000, 100_000);
    client.finish();
    server.expect_eof();
    server.finish();
    client.expect_eof();
    newest(&rig, 1, carried, carried, "--");
    rig.stop();
}

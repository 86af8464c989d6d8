//! What is quoted becomes again what the far host sent.

use proptest::prelude::*;

use super::*;
use crate::relay::segment::{ACK, Found, Header, Segment};
use crate::relay::translate::translate;
use crate::relay::{TERMS_V6, join, ports};

const MAPPED_PREFIX: [u32; 3] = [0, 0, MAPPED];

fn terms(v6: bool) -> impl Strategy<Value = Terms> {
    let addresses = (any::<[u32; 4]>(), any::<[u32; 4]>());
    let rest = (any::<u16>(), any::<u16>(), any::<u32>());
    (addresses, rest).prop_map(move |((mut remote, mut local), (near, far, shift))| {
        for address in [&mut remote, &mut local] {
            if !v6 {
                address[..3].copy_from_slice(&MAPPED_PREFIX);
            }
        }
        Terms {
            remote,
            local,
            ports: ports(near, far),
            shift,
            flags: if v6 { TERMS_V6 } else { 0 },
            ..Terms::default()
        }
    })
}

fn sum(words: &[u32]) -> u64 {
    words.iter().map(|&word| u64::from(word)).sum()
}

/// Puts the right checksum into the second half of a word of `words`, which `others` belong to.
fn seal(words: &mut [u32], at: usize, others: u64) {
    let [a, b, _, _] = words[at].to_ne_bytes();
    words[at] = u32::from_ne_bytes([a, b, 0, 0]);
    let sum = sum(words) + others;
    words[at] = adjusted(u32::from_ne_bytes([a, b, 0xff, 0xff]), sum);
}

fn is_sealed(words: &[u32], others: u64) -> bool {
    (sum(words) + others).is_multiple_of(0xffff)
}

/// The ports and the sequence number of a segment from the far host of `from`, and what they are when it is sent
/// on.
fn sent_and_relayed(from: &Terms, to: &Terms, seq: u32) -> ([u32; 2], [u32; 2]) {
    let mut header = Header::default();
    header.base[0] = from.ports.rotate_left(16);
    header.base[1] = seq.to_be();
    header.base[3] = (5 << 28 | u32::from(ACK) << 16).to_be();
    let sent = [header.base[0], header.base[1]];
    let segment = Segment::read(&header.base, 20).expect("a header");
    translate(&mut header, &segment, &Found::default(), from, to, false);
    (sent, [header.base[0], header.base[1]])
}

/// What a router at `router` says of a segment to the far host of `to`, of which it quotes `more`.
fn v4(to: &Terms, relayed: [u32; 2], router: u32, more: &[u32]) -> (Message<IPV4>, u64) {
    let length = 56 + 4 * more.len() as u32;
    let mut network = [
        (0x4500_0000 | length).to_be(),
        0x1234_0000_u32.to_be(),
        0x4001_0000_u32.to_be(),
        router,
        to.local[3],
    ];
    seal(&mut network, 2, 0);
    let mut quoted = [
        0x4500_05dc_u32.to_be(),
        0x4321_4000_u32.to_be(),
        0x3e06_0000_u32.to_be(),
        to.local[3],
        to.remote[3],
    ];
    seal(&mut quoted, 2, 0);
    let mut head = [0x0304_0000_u32.to_be(), 1300_u32.to_be()];
    seal(&mut head, 0, sum(&quoted) + sum(&relayed) + sum(more));
    let message = Message {
        network,
        head,
        quoted,
        transport: relayed,
    };
    (message, sum(more))
}

fn v6(to: &Terms, relayed: [u32; 2], router: Address, more: &[u32]) -> (Message<IPV6>, u64) {
    let length = 56 + 4 * more.len() as u32;
    let header = |first: u32, source: &Address, destination: &Address| {
        let mut words = [0; IPV6];
        words[0] = 0x6000_0000_u32.to_be();
        words[1] = first.to_be();
        words[2..6].copy_from_slice(source);
        words[6..].copy_from_slice(destination);
        words
    };
    let network = header(
        length << 16 | u32::from(ICMPV6) << 8 | 64,
        &router,
        &to.local,
    );
    let quoted = header(1440 << 16 | u32::from(TCP) << 8 | 62, &to.local, &to.remote);
    let pseudo = sum(&network[2..]) + sum(&[length.to_be(), u32::from(ICMPV6).to_be()]);
    let mut head = [0x0200_0000_u32.to_be(), 1300_u32.to_be()];
    let others = pseudo + sum(&quoted) + sum(&relayed) + sum(more);
    seal(&mut head, 0, others);
    let message = Message {
        network,
        head,
        quoted,
        transport: relayed,
    };
    (
        message,
        sum(&[length.to_be(), u32::from(ICMPV6).to_be()]) + sum(more),
    )
}

proptest! {
    #[test]
    fn the_sender_is_told_of_what_it_sent_v4(
        from in terms(false),
        to in terms(false),
        seq: u32,
        router: u32,
        more in prop::collection::vec(any::<u32>(), 0..8),
        harm in prop::option::of(1_u16..),
    ) {
        let (sent, relayed) = sent_and_relayed(&from, &to, seq);
        let (mut message, others) = v4(&to, relayed, router, &more);
        let about = message.about().expect("a message");
        let key = Key { remote: to.remote, local: to.local, ports: to.ports.rotate_left(16) };
        prop_assert_eq!(about.key, key);
        prop_assert_eq!(about.seq, seq.wrapping_add(from.shift));
        if let Some(harm) = harm {
            message.head[0] = adjusted(message.head[0], u64::from(harm));
        }
        let wanted_residue = |message: &Message<IPV4>| {
            (sum(&message.head) + sum(&message.quoted) + sum(&message.transport) + others) % 0xffff
        };
        let (before, residue) = (message, wanted_residue(&message));
        prop_assert!(message.translate(&from));
        prop_assert_eq!(message.transport, sent);
        prop_assert_eq!([message.quoted[3], message.quoted[4]], [from.remote[3], from.local[3]]);
        prop_assert_eq!([message.network[3], message.network[4]], [from.local[3], from.remote[3]]);
        prop_assert_eq!(message.head[1], before.head[1]);
        prop_assert!(is_sealed(&message.network, 0) && is_sealed(&message.quoted, 0));
        prop_assert_eq!(wanted_residue(&message), residue);
        prop_assert_eq!(residue == 0, harm.is_none_or(|harm| harm == 0xffff));
        let hops = |message: &Message<IPV4>| u32::from_be(message.network[2]) >> 24;
        prop_assert_eq!(hops(&message) + 1, hops(&before));
    }

    #[test]
    fn the_sender_is_told_of_what_it_sent_v6(
        from in terms(true),
        to in terms(true),
        seq: u32,
        router: Address,
        more in prop::collection::vec(any::<u32>(), 0..8),
        harm in prop::option::of(1_u16..),
    ) {
        let (sent, relayed) = sent_and_relayed(&from, &to, seq);
        let (mut message, others) = v6(&to, relayed, router, &more);
        let about = message.about().expect("a message");
        let key = Key { remote: to.remote, local: to.local, ports: to.ports.rotate_left(16) };
        prop_assert_eq!(about.key, key);
        prop_assert_eq!(about.seq, seq.wrapping_add(from.shift));
        if let Some(harm) = harm {
            message.head[0] = adjusted(message.head[0], u64::from(harm));
        }
        let residue_of = |message: &Message<IPV6>| {
            let own = sum(&message.network[2..]) + sum(&message.head);
            (own + sum(&message.quoted) + sum(&message.transport) + others) % 0xffff
        };
        let (before, residue) = (message, residue_of(&message));
        prop_assert!(message.translate(&from));
        prop_assert_eq!(message.transport, sent);
        prop_assert_eq!(&message.quoted[2..6], &from.remote);
        prop_assert_eq!(&message.quoted[6..], &from.local);
        prop_assert_eq!(&message.network[2..6], &from.local);
        prop_assert_eq!(&message.network[6..], &from.remote);
        prop_assert_eq!(message.head[1], before.head[1]);
        prop_assert_eq!(residue_of(&message), residue);
        prop_assert_eq!(residue == 0, harm.is_none_or(|harm| harm == 0xffff));
        prop_assert_eq!(u32::from_be(message.network[1]) + 1, u32::from_be(before.network[1]));
    }
}

/// What is wrong with a message, one of its words, and what that says then.
type Wrong<const N: usize> = (&'static str, fn(&mut Message<N>) -> &mut u32, u32);

#[test]
fn other_messages_are_about_nothing() {
    let to = Terms {
        remote: [0, 0, MAPPED, 0x0102_030a],
        local: [0, 0, MAPPED, 0x0202_030a],
        ..Terms::default()
    };
    let (message, _) = v4(&to, [1, 2], 99, &[]);
    assert!(message.about().is_some());
    let v4_words: [Wrong<IPV4>; 9] = [
        ("options", |m| &mut m.network[0], 0x4600_0038),
        ("too short", |m| &mut m.network[0], 0x4500_0037),
        ("a fragment", |m| &mut m.network[1], 0x2000),
        ("not ICMP", |m| &mut m.network[2], 0x4006_0000),
        ("to somebody else", |m| &mut m.network[4], 1),
        ("host unreachable", |m| &mut m.head[0], 0x0301_0000),
        (
            "of a packet with options",
            |m| &mut m.quoted[0],
            0x4600_05dc,
        ),
        ("of a fragment", |m| &mut m.quoted[1], 0x0001),
        ("of UDP", |m| &mut m.quoted[2], 0x3e11_0000),
    ];
    for (what, word, value) in v4_words {
        let mut other = message;
        *word(&mut other) = value.to_be();
        assert_eq!(other.about(), None, "{what}");
    }
    let (message, _) = v6(&to, [1, 2], [9; 4], &[]);
    assert!(message.about().is_some());
    let v6_words: [Wrong<IPV6>; 7] = [
        ("not IPv6", |m| &mut m.network[0], 0x4000_0000),
        ("too short", |m| &mut m.network[1], 55 << 16 | 58 << 8 | 64),
        ("not ICMPv6", |m| &mut m.network[1], 56 << 16 | 6 << 8 | 64),
        ("to somebody else", |m| &mut m.network[9], 1),
        ("time exceeded", |m| &mut m.head[0], 0x0300_0000),
        ("of IPv4", |m| &mut m.quoted[0], 0x4500_0000),
        (
            "of a fragment",
            |m| &mut m.quoted[1],
            1440 << 16 | 44 << 8 | 62,
        ),
    ];
    for (what, word, value) in v6_words {
        let mut other = message;
        *word(&mut other) = value.to_be();
        assert_eq!(other.about(), None, "{what}");
    }
}

#[test]
fn a_message_ends_where_its_hops_do() {
    let to = Terms::default();
    let (mut message, _) = v4(&to, [0; 2], 0, &[]);
    message.network[2] = 0x0101_0000_u32.to_be();
    let before = message;
    assert!(!message.translate(&to));
    assert_eq!(message, before);
    let (mut message, _) = v6(&to, [0; 2], [0; 4], &[]);
    message.network[1] = (56 << 16 | 58 << 8 | 1_u32).to_be();
    let before = message;
    assert!(!message.translate(&to));
    assert_eq!(message, before);
}

#[test]
fn only_what_is_under_way_is_believed() {
    let start = u32::MAX - 99;
    let half = |phase: Phase| Half {
        phase: join(phase as u32, 50),
        told: join(10_000, start),
        seen: join(0, 1000),
        ..Half::default()
    };
    let settled = half(Phase::Settled);
    for (seq, believed) in [
        (start, true),
        (0, true),
        (999, true),
        (1000, false),
        (start - 1, false),
        (0x8000_0000, false),
    ] {
        assert_eq!(settled.is_to_be_told(seq), believed, "{seq}");
    }
    assert!(half(Phase::Linger).is_to_be_told(0));
    let both = half(Phase::Both);
    assert!(!both.is_to_be_told(49) && both.is_to_be_told(50));
    for phase in [Phase::Track, Phase::Armed, Phase::Over] {
        assert!(!half(phase).is_to_be_told(500), "{phase:?}");
    }
}

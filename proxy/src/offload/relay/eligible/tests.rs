use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

/// A connection over Ethernet with everything that Linux agrees on by default.
fn usual() -> Facts {
    Facts {
        info: Info {
            state: ESTABLISHED,
            timestamps: true,
            sack: true,
            wscale: true,
            snd_wscale: 7,
            rcv_wscale: 7,
            snd_mss: 1448,
            advmss: 1448,
            snd_wnd: Some(65_535),
            ..Info::default()
        },
        local: "10.0.0.1:443".parse().unwrap(),
        remote: "10.0.0.2:50000".parse().unwrap(),
    }
}

/// What becomes of two usual connections when the second is changed, whichever is the client's.
fn when(change: impl FnOnce(&mut Facts)) -> Result<Terms, Refusal> {
    let mut other = usual();
    change(&mut other);
    let result = check(&usual(), &other);
    assert_eq!(check(&other, &usual()), result);
    result
}

const USUAL: Terms = Terms {
    ipv6: false,
    timestamps: true,
    sack: true,
    clear_ecn: false,
};

#[test]
fn two_usual_connections_are_spliced() {
    assert_eq!(when(|_| ()), Ok(USUAL));
}

#[test]
fn both_must_be_established() {
    // Every state that the kernel knows, and two numbers that are none.
    for state in (0..=13).filter(|state| *state != ESTABLISHED) {
        let result = when(|other| other.info.state = state);
        assert_eq!(result, Err(Refusal::NotEstablished), "state {state}");
    }
}

#[test]
fn both_must_be_of_one_family_whatever_the_sockets_are() {
    let set = |local: &str, remote: &str| {
        when(|other| {
            other.local = local.parse().unwrap();
            other.remote = remote.parse().unwrap();
        })
    };
    assert_eq!(set("[::ffff:10.0.0.1]:1", "[::ffff:10.0.0.3]:2"), Ok(USUAL));
    assert_eq!(set("[fd00::1]:1", "[fd00::2]:2"), Err(Refusal::Family));
    let six = Facts {
        local: "[fd00::1]:1".parse().unwrap(),
        remote: "[fd00::2]:2".parse().unwrap(),
        ..usual()
    };
    let expected = Terms {
        ipv6: true,
        ..USUAL
    };
    assert_eq!(check(&six, &six), Ok(expected));
}

#[test]
fn options_are_on_both_sides_or_on_none() {
    assert_eq!(
        when(|other| other.info.timestamps = false),
        Err(Refusal::Timestamps)
    );
    assert_eq!(when(|other| other.info.sack = false), Err(Refusal::Sack));
    let mut bare = usual();
    bare.info.timestamps = false;
    bare.info.sack = false;
    let expected = Terms {
        timestamps: false,
        sack: false,
        ..USUAL
    };
    assert_eq!(check(&bare, &bare), Ok(expected));
}

#[test]
fn ecn_on_one_side_is_cleared() {
    let expected = Terms {
        clear_ecn: true,
        ..USUAL
    };
    assert_eq!(when(|other| other.info.ecn = true), Ok(expected));
    let mut both = usual();
    both.info.ecn = true;
    assert_eq!(check(&both, &both), Ok(USUAL));
}

#[test]
fn the_longest_segment_of_each_end_fits_the_way_to_the_other() {
    for (snd_mss, advmss, expected) in [
        (1448, 1448, Ok(USUAL)),
        // The other end takes longer ones, and sends shorter ones.
        (8948, 500, Ok(USUAL)),
        // It takes shorter ones than the first end may send.
        (1447, 1448, Err(Refusal::Mss)),
        // It sends longer ones than the first end takes.
        (8948, 1449, Err(Refusal::Mss)),
    ] {
        let result = when(|other| {
            other.info.snd_mss = snd_mss;
            other.info.advmss = advmss;
        });
        assert_eq!(result, expected, "snd_mss {snd_mss}, advmss {advmss}");
    }
}

#[test]
fn a_window_is_told_in_the_other_connections_units() {
    for (snd_wnd, rcv_wscale, expected) in [
        // Four units of the first connection's scale of 7, and one byte less.
        (Some(512), 7, Ok(USUAL)),
        (Some(511), 7, Err(Refusal::Window)),
        (Some(0), 7, Err(Refusal::Window)),
        (None, 7, Err(Refusal::Window)),
        // The first connection's 65535 bytes are seven units of 13, and three of 14.
        (Some(512), 13, Ok(USUAL)),
        (Some(512), 14, Err(Refusal::Window)),
    ] {
        let result = when(|other| {
            other.info.snd_wnd = snd_wnd;
            other.info.rcv_wscale = rcv_wscale;
        });
        assert_eq!(result, expected, "window {snd_wnd:?}, scale {rcv_wscale}");
    }
}

#[test]
fn without_scaling_a_unit_is_a_byte() {
    let mut first = usual();
    first.info.wscale = false;
    let mut other = usual();
    other.info.snd_wnd = Some(4);
    assert_eq!(check(&first, &other), Ok(USUAL));
    other.info.snd_wnd = Some(3);
    assert_eq!(check(&first, &other), Err(Refusal::Window));
}

#[test]
fn names_are_those_of_the_log() {
    let names = [
        (Refusal::NotEstablished, "not-established"),
        (Refusal::Family, "family"),
        (Refusal::Timestamps, "timestamps"),
        (Refusal::Sack, "sack"),
        (Refusal::Mss, "mss"),
        (Refusal::Window, "window"),
    ];
    for (refusal, name) in names {
        assert_eq!(refusal.to_string(), name);
    }
}

fn address() -> impl Strategy<Value = SocketAddr> {
    let four = any::<Ipv4Addr>;
    prop_oneof![
        8 => four().prop_map(|ip| SocketAddr::from((ip, 1))),
        2 => four().prop_map(|ip| SocketAddr::from((ip.to_ipv6_mapped(), 1))),
        1 => any::<u16>().prop_map(|n| {
            SocketAddr::from((Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, n), 1))
        }),
    ]
}

prop_compose! {
    fn info()(
        state in prop_oneof![20 => Just(ESTABLISHED), 1 => 0..13u8],
        timestamps in prop::bool::weighted(0.9),
        sack in prop::bool::weighted(0.9),
        wscale in prop::bool::weighted(0.9),
        ecn in any::<bool>(),
        rcv_wscale in 0..=14u8,
        snd_mss in 1200..1500u32,
        advmss in 1100..1400u32,
        snd_wnd in prop::option::weighted(0.95, prop_oneof![0..1u32 << 17, any::<u32>()]),
    ) -> Info {
        Info {
            state, timestamps, sack, wscale, ecn, rcv_wscale, snd_mss, advmss, snd_wnd,
            ..Info::default()
        }
    }
}

prop_compose! {
    fn facts()(info in info(), local in address(), remote in address()) -> Facts {
        Facts { info, local, remote }
    }
}

/// What the other far end reads of a window of `bytes`.
fn field(bytes: u32, told_by: &Info) -> u32 {
    bytes
        >> if told_by.wscale {
            told_by.rcv_wscale
        } else {
            0
        }
}

proptest! {
    #[test]
    fn it_does_not_matter_which_is_the_client(a in facts(), b in facts()) {
        prop_assert_eq!(check(&a, &b), check(&b, &a));
    }

    /// What is accepted can be translated, and what is refused cannot, for the reason that is named.
    #[test]
    fn a_decision_is_true(a in facts(), b in facts()) {
        let both = [(&a, &b), (&b, &a)];
        let one_differs = |what: fn(&Info) -> bool| what(&a.info) != what(&b.info);
        let sixes = [a.local, a.remote, b.local, b.remote]
            .map(|address| match address {
                SocketAddr::V4(_) => false,
                SocketAddr::V6(six) => six.ip().to_ipv4_mapped().is_none(),
            });
        let against = [
            (Refusal::NotEstablished, both.iter().any(|(x, _)| x.info.state != 1)),
            (Refusal::Family, sixes != [sixes[0]; 4]),
            (Refusal::Timestamps, one_differs(|info| info.timestamps)),
            (Refusal::Sack, one_differs(|info| info.sack)),
            (Refusal::Mss, both.iter().any(|(x, y)| x.info.advmss > y.info.snd_mss)),
            (Refusal::Window, both.iter().any(|(x, y)| {
                x.info.snd_wnd.is_none_or(|bytes| field(bytes, &y.info) < 4)
            })),
        ];
        match check(&a, &b) {
            Ok(terms) => {
                prop_assert!(against.iter().all(|(_, holds)| !holds));
                prop_assert_eq!(terms.ipv6, sixes[0]);
                prop_assert_eq!(terms.clear_ecn, one_differs(|info| info.ecn));
                prop_assert_eq!((terms.timestamps, terms.sack), (a.info.timestamps, a.info.sack));
            }
            Err(refusal) => {
                let first = against.iter().find(|(_, holds)| *holds).map(|(name, _)| *name);
                prop_assert_eq!(first, Some(refusal));
            }
        }
    }
}

#[test]
fn servers_are_told_what_fits_the_way_to_the_client() {
    let client = |change: fn(&mut Info)| {
        let mut info = Info {
            pmtu: 1500,
            ..usual().info
        };
        change(&mut info);
        announce(&info)
    };
    assert_eq!(client(|_| ()), Some(1460));
    assert_eq!(client(|info| info.timestamps = false), Some(1448));
    assert_eq!(client(|info| info.snd_mss = 8948), Some(8960));
    assert_eq!(client(|info| info.snd_mss = 524), Some(536));
    assert_eq!(client(|info| info.snd_mss = 523), None);
    assert_eq!(client(|info| info.snd_mss = 40_000), None);
    assert_eq!(client(|info| info.pmtu = 65_535), None);
    assert_eq!(client(|info| info.state = ESTABLISHED + 7), None);
}

proptest! {
    /// What a server then sends fits, whatever it would have sent.
    #[test]
    fn what_is_announced_fits(snd_mss in 500_u32..40_000, own in 500_u32..40_000, timestamps: bool) {
        let stamps = if timestamps { 12 } else { 0 };
        let mut client = usual();
        client.info.snd_mss = snd_mss - stamps;
        client.info.advmss = 500;
        client.info.timestamps = timestamps;
        let limit = announce(&client.info);
        let mut server = client;
        server.info.snd_mss = own;
        // As the kernel does it.
        server.info.advmss = own.min(limit.unwrap_or(own)) - stamps;
        prop_assert_eq!(limit.is_some(), (536..=32_767).contains(&snd_mss));
        if limit.is_some() {
            prop_assert!(fits(&server.info, &client.info));
        }
    }
}

//! Hundreds of flows at once over bad and odd links, promoted to the packet relay at any moment: every byte arrives
//! once and in order, every flow ends as its ends want, and the daemon's account is exact.
//!
//! There are as many times as many flows as `UNDERPASS_CHAOS_TIMES` says.
//!
//! `relay_soak` does the same with as many flows as `UNDERPASS_SOAK_FLOWS` says (100,000 unless it is set), by hand:
//! `cargo nextest run -p underpass-tests --test relay_chaos --run-ignored only --no-capture relay_soak`. In parts: each
//! round has 5000 flows, and `UNDERPASS_SOAK_ROUND` says which is the first one.

use std::time::{Duration, Instant};

use underpass_tests::netns::LinkOptions;
use underpass_tests::peer::Buffers;
use underpass_tests::rig::Path;
use underpass_tests::soak::site::{Placement, Site};
use underpass_tests::soak::{self, Summary, Traffic};
use underpass_tests::weather::Weather;

const KB: u64 = 1 << 10;
const MB: u64 = 1 << 20;

/// What is expected of the daemon's choice.
#[derive(Clone, Copy, Debug)]
enum Promoted {
    /// At least this many of a hundred flows. Many are over before that; how many depends on the machine.
    Share(usize),
    /// None, for a reason with this word.
    None(&'static str),
}

use Promoted::Share;

/// How many times as many flows there are.
fn times() -> u32 {
    let times = std::env::var("UNDERPASS_CHAOS_TIMES");
    times.map_or(1, |times| times.parse().expect("a number"))
}

/// Runs `traffic` at `site`.
fn hold(site: &Site, traffic: &Traffic, promoted: Promoted) {
    let traffic = &Traffic {
        flows: traffic.flows * times(),
        ..*traffic
    };
    let standing = site.stand(Path::Relay);
    let summary = soak::run(&standing.rig, &standing.ports, traffic);
    eprintln!("{summary}");
    let left = if summary.is_clean() {
        Vec::new()
    } else {
        // What the daemon still has says more of what went wrong.
        standing.rig.daemon.live(1).unwrap_or_default()
    };
    assert!(summary.is_clean(), "{site:#?}\n{summary}\n{left:#?}");
    expect_promoted(&summary, promoted);
    let met = standing.climate.least_met(&standing.rig.net).unwrap();
    assert!(met > 0, "the weather was fine: {:?}", site.weather);
    standing.rig.stop();
}

fn expect_promoted(summary: &Summary, promoted: Promoted) {
    match promoted {
        Share(percent) => assert!(
            summary.promoted * 100 >= summary.flows * percent,
            "less than {percent} % are promoted: {summary}"
        ),
        Promoted::None(reason) => {
            let explained = summary.reasons.keys().any(|why| why.contains(reason));
            assert!(summary.promoted == 0 && explained, "{reason}: {summary}");
        }
    }
}

/// Traffic of a size that weather with so many fates in a thousand lets pass in time.
fn traffic_under(share: u32) -> Traffic {
    let (flows, at_once, most) = match share {
        0..=1 => (150, 75, MB),
        2..=10 => (120, 60, 256 * KB),
        _ => (100, 50, 24 * KB),
    };
    Traffic {
        seed: share.into(),
        flows,
        at_once,
        most,
        ..Traffic::default()
    }
}

/// Makes a test of each placement and rate for each of these kinds of weather.
macro_rules! weathers {
    ($($kind:ident: |$share:ident| $weather:expr;)+) => {
        $(
            mod $kind {
                use super::*;

                fn endure(placement: Placement, $share: u32) {
                    let weather: Weather = $weather;
                    let site = Site {
                        placement,
                        weather,
                        single_packets: placement != Placement::OneHost,
                        ..Site::default()
                    };
                    hold(&site, &traffic_under($share), Share(1));
                }

                #[test]
                fn rare() {
                    endure(Placement::Apart, 1);
                }

                #[test]
                fn common() {
                    endure(Placement::Apart, 10);
                }

                #[test]
                #[ignore = "takes a minute where a packet is lost often enough; run by hand, as relay_soak"]
                fn heavy() {
                    endure(Placement::Apart, 100);
                }

                #[test]
                fn common_on_one_host() {
                    endure(Placement::OneHost, 10);
                }

                #[test]
                #[ignore = "takes a minute where a packet is lost often enough; run by hand, as relay_soak"]
                fn heavy_on_one_host() {
                    endure(Placement::OneHost, 100);
                }
            }
        )+
    };
}

weathers! {
    loss: |share| Weather { lost: share, ..Weather::FINE };
    duplication: |share| Weather { repeated: share, ..Weather::FINE };
    reordering: |share| Weather { late: share, ..Weather::FINE };
    delay: |share| Weather { delayed: share, ..Weather::FINE };
    damage: |share| Weather { damaged: share, ..Weather::FINE };
    everything: |share| Weather {
        lost: share / 2 + 1,
        repeated: share,
        late: share,
        delayed: share / 4 + 1,
        damaged: share / 2 + 1,
    };
}

/// A little of everything.
const UNSETTLED: Weather = Weather {
    lost: 3,
    repeated: 5,
    late: 10,
    delayed: 2,
    damaged: 3,
};

fn unsettled() -> Traffic {
    traffic_under(10)
}

/// What goes over good links.
fn fine() -> Traffic {
    Traffic {
        flows: 120,
        at_once: 60,
        ..Traffic::default()
    }
}

/// Links of these sizes towards client and server.
fn sizes(client: u32, server: u32, promoted: Promoted) {
    for v6 in [false, true] {
        let site = Site {
            v6,
            links: LinkOptions {
                mtu: Some(client),
                server_mtu: Some(server),
                ..LinkOptions::default()
            },
            ..Site::default()
        };
        let traffic = Traffic {
            seed: u64::from(client) << 20 ^ u64::from(server),
            flows: 100,
            at_once: 60,
            ..Traffic::default()
        };
        hold(&site, &traffic, promoted);
        let site = Site {
            weather: UNSETTLED,
            ..site
        };
        hold(&site, &unsettled(), promoted);
    }
}

#[test]
fn the_smallest_links() {
    sizes(1280, 1280, Share(2));
}

#[test]
fn jumbo_frames() {
    sizes(9000, 9000, Share(2));
}

#[test]
fn the_largest_links() {
    sizes(65535, 65535, Share(2));
}

/// The daemon tells the server what the client's link takes.
#[test]
fn larger_towards_the_server() {
    sizes(1500, 9000, Share(1));
    sizes(1280, 65535, Share(1));
}

/// The client may send segments that the server's link does not take.
#[test]
fn larger_towards_the_client() {
    sizes(9000, 1500, Promoted::None("mss"));
}

/// Windows of the ends whose units are `2^client` and `2^server` bytes.
fn scales(client: u32, server: u32, promoted: Promoted) {
    let mut site = Site::default();
    for (host, scale) in [(0, client), (2, server)] {
        // The kernel takes the scale with which 16 bits reach the largest buffer.
        let most = (65_535_u64 << scale).min(0x7fff_ffff);
        let mut on = [false; 3];
        on[host] = true;
        let rmem = format!("4096 131072 {most}");
        site = site.setting(on, "tcp_rmem", &rmem);
    }
    let traffic = Traffic {
        seed: u64::from(client * 16 + server),
        flows: 100,
        at_once: 60,
        ..Traffic::default()
    };
    hold(&site, &traffic, promoted);
    site.weather = UNSETTLED;
    hold(&site, &unsettled(), promoted);
}

#[test]
fn scales_of_0_and_14() {
    scales(0, 14, Share(0));
}

#[test]
fn scales_of_14_and_0() {
    scales(14, 0, Share(0));
}

#[test]
fn scales_of_14_and_14() {
    scales(14, 14, Share(0));
}

#[test]
fn scales_of_3_and_8() {
    scales(3, 8, Share(2));
}

#[test]
fn no_scales_at_all() {
    let site = Site::default().setting([true; 3], "tcp_window_scaling", "0");
    hold(&site, &unsettled(), Share(2));
}

#[test]
fn no_scale_towards_the_client() {
    let site = Site::default().setting([true, false, false], "tcp_window_scaling", "0");
    hold(&site, &unsettled(), Share(0));
}

#[test]
fn no_scale_towards_the_server() {
    let site = Site::default().setting([false, false, true], "tcp_window_scaling", "0");
    hold(&site, &unsettled(), Share(0));
}

/// An option of TCP that no host, the client, or the server does without.
fn without(option: &'static str, reason: &'static str) {
    let nobody = Site {
        weather: UNSETTLED,
        ..Site::default()
    };
    let nobody = nobody.setting([true; 3], option, "0");
    hold(&nobody, &unsettled(), Share(2));
    for on in [[true, false, false], [false, false, true]] {
        let site = Site {
            weather: UNSETTLED,
            ..Site::default()
        };
        let site = site.setting(on, option, "0");
        hold(&site, &unsettled(), Promoted::None(reason));
    }
}

#[test]
fn without_timestamps() {
    without("tcp_timestamps", "timestamps");
}

#[test]
fn without_selective_acknowledgements() {
    without("tcp_sack", "sack");
}

#[test]
fn with_congestion_marks_on_one_side() {
    for on in [
        [true, false, false],
        [false, false, true],
        [true, true, true],
    ] {
        // The daemon's host answers a request for marks, and asks for them itself where it is told to.
        let site = Site {
            weather: UNSETTLED,
            ..Site::default()
        };
        hold(&site.setting(on, "tcp_ecn", "1"), &unsettled(), Share(2));
    }
}

#[test]
fn tiny_and_huge_buffers() {
    for (buffers, most) in [
        (Buffers::both(2 * 1024), 48 * KB),
        (Buffers::both(8 << 20), 2 * MB),
    ] {
        let traffic = Traffic {
            buffers,
            most,
            flows: 100,
            at_once: 60,
            ..Traffic::default()
        };
        for server_buffers in [Buffers::default(), buffers] {
            let site = Site {
                server_buffers,
                ..Site::default()
            };
            hold(&site, &traffic, Share(0));
        }
    }
}

/// Devices that cut and join packets, and devices that do not.
#[test]
fn offloads_of_the_devices() {
    for features in [
        vec![("gro", "on")],
        vec![("gro", "on"), ("tso", "off"), ("gso", "off")],
        vec![("gro", "off"), ("tso", "off"), ("gso", "off")],
        vec![("gro", "on"), ("tx", "off")],
        vec![("gro", "off"), ("tx", "off"), ("rx", "off")],
    ] {
        let site = Site {
            links: LinkOptions {
                features,
                ..LinkOptions::default()
            },
            ..Site::default()
        };
        let traffic = Traffic {
            flows: 100,
            at_once: 60,
            ..Traffic::default()
        };
        hold(&site, &traffic, Share(2));
        let site = Site {
            weather: UNSETTLED,
            ..site
        };
        hold(&site, &unsettled(), Share(2));
    }
}

/// The ends in these places, over both families.
fn placed(placement: Placement) {
    for v6 in [false, true] {
        for (weather, traffic) in [(Weather::FINE, fine()), (UNSETTLED, unsettled())] {
            let site = Site {
                placement,
                v6,
                weather,
                ..Site::default()
            };
            hold(&site, &traffic, Share(2));
        }
    }
}

#[test]
fn ends_on_hosts_of_their_own() {
    placed(Placement::Apart);
}

#[test]
fn ends_on_one_other_host() {
    placed(Placement::Together);
}

#[test]
fn ends_on_one_host() {
    placed(Placement::OneHost);
}

#[test]
fn client_on_the_daemons_host() {
    placed(Placement::ClientAtHome);
}

#[test]
fn server_on_the_daemons_host() {
    placed(Placement::ServerAtHome);
}

/// One moment of promotion for all flows, each in turn.
#[test]
fn moments_of_promotion() {
    for (seed, after) in (0..).zip(["0", "1", "64", "1448", "20000", "500us", "2ms", "15ms"]) {
        let site = Site {
            after: vec![after.to_owned()],
            weather: UNSETTLED,
            ..Site::default()
        };
        let traffic = Traffic {
            seed,
            flows: 120,
            ..unsettled()
        };
        hold(&site, &traffic, Share(0));
    }
}

/// More flows at once than there is room for: the others go another way.
#[test]
fn a_full_table() {
    let site = Site {
        after: vec!["0".to_owned()],
        global: vec!["tune.offload.flows 16".to_owned()],
        ..Site::default()
    };
    let standing = site.stand(Path::Relay);
    let summary = soak::run(&standing.rig, &standing.ports, &Traffic::default());
    assert!(summary.is_clean(), "{summary}");
    let refused = summary.reasons.get("full").copied().unwrap_or_default();
    assert!(summary.promoted > 0 && refused > 0, "{summary}");
    standing.rig.stop();
}

/// All placements, families and kinds of weather in turn, until there have been enough flows.
#[test]
#[ignore = "takes many minutes; run by hand"]
fn relay_soak() {
    const EACH: u32 = 5000;
    let number = |name: &str, default: usize| {
        let given = std::env::var(name).ok();
        given.map_or(default, |given| given.parse().expect("a number"))
    };
    let wanted = number("UNDERPASS_SOAK_FLOWS", 100_000);
    let placements = [
        Placement::Apart,
        Placement::OneHost,
        Placement::ServerAtHome,
        Placement::ClientAtHome,
        Placement::Together,
    ];
    let weathers = [(Weather::FINE, MB), (UNSETTLED, 32 * KB)];
    let mut all = Summary::default();
    let begin = Instant::now();
    let mut round = number("UNDERPASS_SOAK_ROUND", 0);
    while all.flows < wanted {
        let (weather, most) = weathers[round % 2];
        let site = Site {
            placement: placements[round / 2 % 5],
            v6: round / 10 % 2 == 1,
            weather,
            ..Site::default()
        };
        let standing = site.stand(Path::Relay);
        let traffic = Traffic {
            seed: round as u64,
            flows: EACH,
            at_once: 250,
            most,
            patience: Duration::from_secs(120),
            ..Traffic::default()
        };
        let summary = soak::run(&standing.rig, &standing.ports, &traffic);
        eprintln!(
            "round {round}, {:?}, IPv{}, {most} bytes at most: {summary}",
            site.placement,
            if site.v6 { 6 } else { 4 }
        );
        standing.rig.stop();
        all.merge(summary);
        round += 1;
    }
    eprintln!("in all, {} s: {all}", begin.elapsed().as_secs());
    assert!(all.is_clean(), "{all}");
    expect_promoted(&all, Share(2));
}

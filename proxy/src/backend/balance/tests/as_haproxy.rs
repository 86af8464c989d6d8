//! Choices that HAProxy 2.6.12 made: recorded by `examples/balance_figures.rs`, whose figures compare
//! all of its streams.

use super::*;

/// The weights of its ten servers, with ids from 1.
const WEIGHTS: [u32; 10] = [1, 2, 3, 4, 5, 1, 2, 3, 4, 5];

/// The servers of the first streams, all of which stay.
const SEEN: [(&str, [usize; 24]); 10] = [
    (
        "balance static-rr",
        [
            0, 1, 2, 3, 4, 9, 4, 8, 3, 7, 2, 9, 4, 5, 6, 8, 1, 9, 3, 7, 2, 4, 8, 9,
        ],
    ),
    (
        "balance leastconn",
        [
            0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 4, 9, 3, 8, 4, 9, 2, 7, 3, 8, 4, 9, 1, 6,
        ],
    ),
    (
        "balance source",
        [
            9, 6, 3, 4, 7, 8, 1, 2, 9, 6, 8, 3, 4, 2, 5, 2, 9, 3, 7, 0, 7, 8, 4, 6,
        ],
    ),
    (
        "balance source\n hash-type consistent",
        [
            7, 9, 4, 6, 6, 4, 6, 4, 4, 3, 0, 2, 4, 3, 5, 9, 8, 2, 4, 3, 3, 4, 0, 3,
        ],
    ),
    (
        "balance hash src",
        [
            4, 9, 1, 4, 8, 3, 9, 5, 4, 7, 3, 6, 5, 2, 7, 8, 6, 2, 9, 1, 4, 9, 8, 9,
        ],
    ),
    (
        "balance hash src\n hash-type map-based wt6 avalanche",
        [
            0, 3, 3, 3, 9, 7, 1, 3, 3, 6, 7, 3, 8, 8, 4, 3, 9, 9, 4, 4, 9, 6, 1, 7,
        ],
    ),
    (
        "balance hash src\n hash-type consistent",
        [
            3, 7, 2, 2, 6, 1, 7, 8, 4, 4, 9, 6, 9, 9, 5, 8, 4, 7, 2, 4, 7, 1, 2, 9,
        ],
    ),
    (
        "balance hash src\n hash-type consistent djb2 avalanche",
        [
            5, 9, 2, 3, 5, 8, 4, 1, 0, 3, 9, 3, 3, 3, 8, 4, 2, 8, 9, 0, 9, 8, 8, 2,
        ],
    ),
    (
        "balance hash src\n hash-type consistent crc32",
        [
            6, 4, 7, 9, 3, 4, 8, 9, 1, 0, 3, 8, 8, 9, 3, 6, 4, 8, 9, 9, 4, 4, 4, 9,
        ],
    ),
    (
        "balance hash src\n hash-type consistent\n hash-balance-factor 125",
        [
            3, 7, 2, 4, 6, 1, 3, 8, 4, 9, 9, 8, 9, 8, 5, 7, 4, 7, 2, 4, 3, 1, 2, 9,
        ],
    ),
];

/// The addresses that the streams came from.
fn sources() -> impl Iterator<Item = [u8; 4]> {
    (1_u32..).map(|at| (0x7f00_0000 | (at.wrapping_mul(0x9e_3779) & 0xff_ffff)).to_be_bytes())
}

#[test]
fn the_same_streams_get_the_same_servers() {
    for (lines, expected) in SEEN {
        let mut rig = Rig::new(lines, &WEIGHTS);
        let asks = settings(lines);
        let chosen: Vec<usize> = sources()
            .take(expected.len())
            .map(|key| {
                let wants_key = !matches!(asks.key(), crate::config::model::balance::Key::None);
                rig.hold(wants_key.then_some(&key[..]))
            })
            .collect();
        assert_eq!(chosen, expected, "{lines}");
    }
}

//! What one direction of a flow carries, and how.

use std::time::Duration;

use crate::pattern::{Dice, Pattern};

/// Set in the numbers of servers' directions.
pub(super) const FROM_SERVER: u32 = 1 << 31;

/// Bytes at the start of a direction that name its seed.
pub(super) const NAME: usize = 8;

/// One direction: its contents follow from its seed, and so does everything else about it.
#[derive(Clone, Debug)]
pub(super) struct Script {
    pub(super) seed: u64,
    /// Bytes in all, its name among them.
    pub(super) bytes: u64,
    /// The longest write.
    pub(super) longest: u64,
    /// Of how many writes one is followed by a pause; none is when 0.
    pub(super) pauses: u64,
    /// It does not end before the other direction, if that one is known to end by itself.
    pub(super) ends_last: bool,
    contents: Pattern,
}

impl Script {
    /// The script of flow `number` in a run with `seed`, of at most `most` bytes.
    pub(super) fn of_number(number: u32, seed: u64, most: u64) -> Self {
        let name = u64::from(number) | u64::from(seal(number, seed)) << 32;
        Self::of_seed(name, most)
    }

    /// The script that a direction names with its first bytes; none when these are not a name in a run with `seed`.
    pub(super) fn named(name: [u8; NAME], seed: u64, most: u64) -> Option<Self> {
        let name = u64::from_le_bytes(name);
        let number = u32::try_from(name & u64::from(u32::MAX)).ok()?;
        let is_one = name >> 32 == u64::from(seal(number, seed));
        is_one.then(|| Self::of_seed(name, most))
    }

    fn of_seed(seed: u64, most: u64) -> Self {
        let mut dice = Dice::new(seed ^ 0x736f_616b);
        // Twice as likely to be short: the shorter of two.
        let sizes = u64::from(most.max(16).ilog2()) - 2;
        let size = dice.below(sizes).min(dice.below(sizes));
        let bytes = (8 << size) + dice.below(8 << size);
        Self {
            seed,
            bytes: bytes.min(most),
            // Some hundred writes at most: the pauses between them are not to fill the time.
            longest: (1 << dice.below(17)).max(bytes / 200),
            pauses: [0, 0, 3, 20][usize::try_from(dice.below(4)).unwrap_or_default()],
            ends_last: dice.below(4) == 0,
            contents: Pattern::new(seed),
        }
    }

    /// Whether it is a client's.
    pub(super) fn is_clients(&self) -> bool {
        self.seed & u64::from(FROM_SERVER) == 0
    }

    /// Dice for the cuts and pauses of whoever sends or receives it.
    pub(super) fn dice(&self, who: u64) -> Dice {
        Dice::new(self.seed.rotate_left(17) ^ who)
    }

    /// The contents from `offset` on.
    pub(super) fn fill(&self, offset: u64, into: &mut [u8]) {
        self.contents.fill(offset, into);
        let name = self.seed.to_le_bytes();
        if let Some(named) = usize::try_from(offset)
            .ok()
            .and_then(|offset| name.get(offset..))
        {
            let length = named.len().min(into.len());
            into[..length].copy_from_slice(&named[..length]);
        }
    }

    /// Checks what came at `offset`, behind the name.
    pub(super) fn check(&self, offset: u64, got: &[u8]) -> Result<(), String> {
        let check = self.contents.check(offset, got);
        check.map_err(|mismatch| mismatch.to_string())
    }

    /// A pause, when it is time for one.
    pub(super) fn pause(&self, dice: &mut Dice) -> Option<Duration> {
        let is_time = self.pauses > 0 && dice.below(self.pauses) == 0;
        is_time.then(|| Duration::from_micros(dice.below(6000)))
    }
}

/// What makes a number a name.
fn seal(number: u32, seed: u64) -> u32 {
    let mut dice = Dice::new(seed ^ u64::from(number));
    u32::try_from(dice.below(u64::from(u32::MAX))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_direction_is_known_by_its_first_bytes() {
        for number in [0, 7, FROM_SERVER, FROM_SERVER | 7] {
            let script = Script::of_number(number, 5, 1 << 20);
            let mut contents = [0; 20];
            script.fill(0, &mut contents);
            let name = contents[..NAME].try_into().unwrap();
            let known = Script::named(name, 5, 1 << 20).unwrap();
            assert_eq!((known.seed, known.bytes), (script.seed, script.bytes));
            assert_eq!(known.is_clients(), number < FROM_SERVER);
            assert_eq!(known.check(8, &contents[8..]), Ok(()));
            assert!(Script::named(name, 6, 1 << 20).is_none());
            let mut cut = [0; 12];
            script.fill(5, &mut cut[..1]);
            script.fill(6, &mut cut[1..]);
            assert_eq!(cut, contents[5..17]);
        }
    }

    #[test]
    fn sizes_are_between_a_name_and_the_most() {
        let sizes: Vec<u64> = (0..2000)
            .map(|number| Script::of_number(number, 1, 2 << 20).bytes)
            .collect();
        assert!(
            sizes
                .iter()
                .all(|size| (NAME as u64..=2 << 20).contains(size))
        );
        assert!(sizes.iter().any(|size| *size < 64) && sizes.iter().any(|size| *size > 500_000));
    }
}

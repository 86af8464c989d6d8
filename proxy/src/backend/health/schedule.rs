//! When checks start, and how they stay apart.

use std::time::Duration;

/// Checks more often than this do not tell the others when to start.
const OFTEN: Duration = Duration::from_secs(1);

/// When each of `intervals`' checks is made first: spread over the shortest interval that is not
/// very short, in order; `longest`: `max-spread-checks`.
#[must_use]
pub fn starts(intervals: &[Duration], longest: Option<Duration>) -> Vec<Duration> {
    let usual = intervals.iter().copied().filter(|each| *each >= OFTEN);
    let shortest = usual.min().unwrap_or_default();
    let count = u32::try_from(intervals.len()).unwrap_or(u32::MAX).max(1);
    let all = intervals.iter().zip(0..);
    all.map(|(interval, at)| {
        let mut over = shortest.max(*interval);
        if let Some(longest) = longest {
            over = over.min(longest);
        }
        over * at / count
    })
    .collect()
}

/// An interval, up to `percent` shorter or longer: `spread-checks`.
#[must_use]
pub fn spread(interval: Duration, percent: u8, random: u64) -> Duration {
    let millis = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
    let most = u128::from(millis) * u128::from(percent) / 100;
    // From 0 to twice the most.
    let by = ((2 * most + 1) * u128::from(random)) >> 64;
    let shortest = u128::from(millis) - most;
    Duration::from_millis(u64::try_from(shortest + by).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn checks_start_apart() {
        assert_eq!(
            starts(&[ms(2000); 4], None),
            [ms(0), ms(500), ms(1000), ms(1500)]
        );
        // One that is very often does not hurry the others.
        assert_eq!(
            starts(&[ms(100), ms(3000), ms(6000)], None),
            [ms(0), ms(1000), ms(4000)]
        );
        assert_eq!(starts(&[ms(100), ms(200)], None), [ms(0), ms(100)]);
        assert_eq!(starts(&[ms(60_000); 2], Some(ms(1000))), [ms(0), ms(500)]);
        assert!(starts(&[], None).is_empty());
    }

    #[test]
    fn intervals_spread_evenly() {
        assert_eq!(spread(ms(1000), 0, u64::MAX), ms(1000));
        assert_eq!(spread(ms(1000), 50, 0), ms(500));
        assert_eq!(spread(ms(1000), 50, u64::MAX / 2), ms(1000));
        assert_eq!(spread(ms(1000), 50, u64::MAX), ms(1500));
    }
}

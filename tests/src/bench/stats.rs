//! Medians, spreads and ratios of the few samples a run has per cell.

use serde::{Deserialize, Serialize};

/// Median and full range of one figure over the rounds of a run.
///
/// The range, not a deviation: with three to ten rounds the extremes are what
/// a reader can judge, and a deviation would claim a distribution nobody has seen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spread {
    /// Middle value; mean of the two middle ones for an even count.
    pub(crate) median: f64,
    /// Smallest value.
    pub(crate) min: f64,
    /// Largest value.
    pub(crate) max: f64,
}

/// Summary of `values`, ignoring what is not finite; `None` when nothing is left.
pub(crate) fn spread(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
    let mut sorted: Vec<f64> = values.into_iter().filter(|v| v.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let (min, max) = (*sorted.first()?, *sorted.last()?);
    let middle = sorted.len() / 2;
    let median = if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    };
    Some(Spread { median, min, max })
}

/// A contestant's figure divided by the reference's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ratio {
    /// Ratio of the two medians over all rounds.
    pub(crate) of_medians: f64,
    /// Ratios of the two samples of the same round, summarised. Two samples of
    /// one round are close in time, so slow drift of the machine cancels out.
    pub(crate) paired: Spread,
}

/// Ratio of two series of `(round, value)`; `None` when they share no round or
/// the reference is zero.
pub(crate) fn ratio(ours: &[(usize, f64)], reference: &[(usize, f64)]) -> Option<Ratio> {
    let paired = spread(ours.iter().filter_map(|(round, value)| {
        let (_, other) = reference.iter().find(|(r, _)| r == round)?;
        (*other > 0.0).then(|| value / other)
    }))?;
    let base = spread(reference.iter().map(|(_, v)| *v))?.median;
    let own = spread(ours.iter().map(|(_, v)| *v))?.median;
    (base > 0.0).then(|| Ratio {
        of_medians: own / base,
        paired,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_of_odd_and_even_counts() {
        let odd = spread([3.0, 1.0, 2.0]).unwrap();
        assert_eq!((odd.median, odd.min, odd.max), (2.0, 1.0, 3.0));
        assert_eq!(spread([4.0, 1.0, 2.0, 3.0]).unwrap().median, 2.5);
    }

    #[test]
    fn nothing_to_summarise() {
        assert_eq!(spread([]), None);
        assert_eq!(spread([f64::NAN, f64::INFINITY]), None);
    }

    #[test]
    fn one_value_is_its_own_range() {
        let one = spread([7.0]).unwrap();
        assert_eq!((one.median, one.min, one.max), (7.0, 7.0, 7.0));
    }

    #[test]
    fn ratio_pairs_by_round() {
        // Round 1 is missing on our side; the machine slowed by half in round 2.
        let ours = [(0, 12.0), (2, 6.0)];
        let reference = [(0, 10.0), (1, 9.0), (2, 5.0)];
        let r = ratio(&ours, &reference).unwrap();
        assert!((r.paired.min - 1.2).abs() < 1e-9);
        assert!((r.paired.max - 1.2).abs() < 1e-9);
        assert!((r.of_medians - 1.0).abs() < 1e-9);
    }

    #[test]
    fn ratio_needs_a_common_round_and_a_reference() {
        assert_eq!(ratio(&[(0, 1.0)], &[(1, 1.0)]), None);
        assert_eq!(ratio(&[(0, 1.0)], &[(0, 0.0)]), None);
        assert_eq!(ratio(&[], &[]), None);
    }
}

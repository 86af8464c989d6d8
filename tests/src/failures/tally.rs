//! What the clients of a run saw, in numbers, and when one program's numbers are worse than another's.

use std::fmt;

use super::visitors::Outcome;

/// Counts of one or more runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    outcomes: [u64; Outcome::ALL.len()],
    /// Questions that were not asked, because their client still waited for an answer.
    pub skipped: u64,
    /// Answers that a server cut off in the middle: errors that no proxy can help.
    pub cut: u64,
}

impl Tally {
    /// Counts a visit.
    pub fn count(&mut self, outcome: Outcome) {
        self.outcomes[outcome as usize] += 1;
    }

    /// Adds another run.
    pub fn add(&mut self, other: &Self) {
        for (own, others) in self.outcomes.iter_mut().zip(other.outcomes) {
            *own += others;
        }
        self.skipped += other.skipped;
        self.cut += other.cut;
    }

    /// How many visits went so.
    #[must_use]
    pub const fn of(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize]
    }

    /// Visits.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.outcomes.iter().sum()
    }

    /// Visits without the whole answer.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.requests() - self.of(Outcome::Complete)
    }

    /// Visits without a single byte of an answer: mostly, another server would have given one.
    #[must_use]
    pub const fn unanswered(&self) -> u64 {
        self.of(Outcome::Refused)
            + self.of(Outcome::ResetBefore)
            + self.of(Outcome::EndedBefore)
            + self.of(Outcome::TimedOut)
    }

    /// Answers that a client could take for complete and right, and that are not.
    #[must_use]
    pub const fn deceptive(&self) -> u64 {
        self.of(Outcome::Truncated) + self.of(Outcome::Corrupt)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} requests, {} errors", self.requests(), self.errors())?;
        for outcome in Outcome::ALL {
            let count = self.of(outcome);
            if count > 0 {
                write!(f, ", {} {count}", outcome.name())?;
            }
        }
        write!(f, "; {} skipped, {} cut by servers", self.skipped, self.cut)
    }
}

/// How many errors beyond `expected` are noise: three standard deviations of the difference of two such counts, were
/// errors independent events that are equally likely on both sides.
#[must_use]
pub fn noise(ours: u64, expected: u64) -> u64 {
    // 3·√n = √(9·n)
    (9 * (ours + expected)).isqrt()
}

/// `errors` of `theirs`, had it been asked as much as `ours`: who is slower is asked less.
#[must_use]
pub fn expected(errors: u64, ours: &Tally, theirs: &Tally) -> u64 {
    errors * ours.requests() / theirs.requests().max(1)
}

/// In what `ours` is worse than `theirs`: more errors per request of a kind than noise explains, or an answer that
/// deceives.
#[must_use]
pub fn worse(ours: &Tally, theirs: &Tally) -> Vec<String> {
    let mut findings = Vec::new();
    for (what, own, other) in [
        ("errors", ours.errors(), theirs.errors()),
        ("without any byte", ours.unanswered(), theirs.unanswered()),
    ] {
        let expected = expected(other, ours, theirs);
        let allowed = noise(own, expected);
        if own > expected + allowed {
            findings.push(format!(
                "{what}: {own}, against {expected} in as many requests and {allowed} for noise"
            ));
        }
    }
    if ours.deceptive() > 0 {
        findings.push(format!(
            "{} truncated and {} corrupt answers, where there must be none",
            ours.of(Outcome::Truncated),
            ours.of(Outcome::Corrupt)
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(counts: &[(Outcome, u64)]) -> Tally {
        let mut tally = Tally::default();
        for &(outcome, count) in counts {
            for _ in 0..count {
                tally.count(outcome);
            }
        }
        tally
    }

    #[test]
    fn every_outcome_has_a_place_of_its_own() {
        let all = tally(&Outcome::ALL.map(|outcome| (outcome, 1)));
        assert!(Outcome::ALL.iter().all(|&outcome| all.of(outcome) == 1));
        assert_eq!((all.requests(), all.errors()), (8, 7));
        assert_eq!((all.unanswered(), all.deceptive()), (4, 2));
        let mut sum = all;
        sum.add(&all);
        assert_eq!(sum.errors(), 14);
        assert!(
            all.to_string()
                .starts_with("8 requests, 7 errors, complete 1, refused 1")
        );
    }

    #[test]
    fn noise_is_no_finding() {
        let theirs = tally(&[(Outcome::Complete, 900), (Outcome::ResetMidway, 100)]);
        assert_eq!(worse(&theirs, &theirs), [""; 0]);
        let few = tally(&[(Outcome::Complete, 860), (Outcome::ResetMidway, 140)]);
        assert_eq!(noise(140, 100), 46);
        assert_eq!(worse(&few, &theirs), [""; 0]);
        let many = tally(&[(Outcome::Complete, 800), (Outcome::ResetMidway, 200)]);
        assert_eq!(
            worse(&many, &theirs),
            ["errors: 200, against 100 in as many requests and 51 for noise"]
        );
        assert_eq!(worse(&theirs, &many), [""; 0]);
    }

    #[test]
    fn who_is_asked_more_may_have_more_errors() {
        let theirs = tally(&[(Outcome::Complete, 900), (Outcome::ResetMidway, 100)]);
        let ours = tally(&[(Outcome::Complete, 1800), (Outcome::ResetMidway, 200)]);
        assert_eq!(expected(theirs.errors(), &ours, &theirs), 200);
        assert_eq!(worse(&ours, &theirs), [""; 0]);
    }

    #[test]
    fn more_without_a_byte_is_a_finding_where_the_sum_is_not() {
        let theirs = tally(&[(Outcome::ResetMidway, 1000)]);
        let ours = tally(&[(Outcome::ResetMidway, 1000), (Outcome::EndedBefore, 20)]);
        assert_eq!(
            worse(&ours, &theirs),
            ["without any byte: 20, against 0 in as many requests and 13 for noise"]
        );
    }

    #[test]
    fn one_deceptive_answer_is_too_many() {
        let theirs = tally(&[(Outcome::Truncated, 50)]);
        assert_eq!(worse(&tally(&[(Outcome::Complete, 50)]), &theirs), [""; 0]);
        assert_eq!(worse(&tally(&[(Outcome::Truncated, 1)]), &theirs).len(), 1);
    }
}

//! The questions about one name: when to ask, how often, and when an error is an error.
//!
//! All name servers are asked at once, and the first valid answer counts. An error counts when all
//! of them have one, the other address family included, and the tries are used up.

use std::sync::Arc;

use super::question::{Answer, Failure, Kind, Status};
use crate::rules::scene::Millis;

/// How patiently a section asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// From the end of a resolution to the next, ms.
    pub resolve: u64,
    /// From a query without a valid answer to the next, ms.
    pub retry: u64,
    /// Queries, the first one included.
    pub tries: u32,
    /// Name servers that are asked at once.
    pub nameservers: usize,
}

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing, until [`Inquiry::due`].
    Wait,
    /// Ask all name servers.
    Ask(Kind),
    /// There is an answer.
    Valid(Answer),
    /// There is none.
    Failed(Status),
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// Until then there is nothing to do.
    Resting(Millis),
    Asking(Asking),
}

#[derive(Debug, Clone, Copy)]
struct Asking {
    kind: Kind,
    /// When the last query was sent.
    since: Millis,
    /// Queries that may follow.
    left: u32,
    /// Errors since the last query.
    errors: usize,
    /// The last one.
    last: Option<Failure>,
}

/// The questions about one name.
#[derive(Debug)]
pub struct Inquiry {
    /// The name.
    pub name: Arc<str>,
    /// What is asked first.
    pub kind: Kind,
    patience: Patience,
    /// Counts resolutions: an answer to an earlier one is no answer.
    round: u64,
    phase: Phase,
    last_valid: Option<Millis>,
    /// When the last resolution ended.
    ended: Option<Millis>,
}

impl Inquiry {
    /// Asks for the first time at `now`.
    #[must_use]
    pub fn new(name: Arc<str>, kind: Kind, patience: Patience, now: Millis) -> Self {
        Self {
            name,
            kind,
            patience,
            round: 0,
            phase: Phase::Resting(now),
            last_valid: None,
            ended: None,
        }
    }

    /// The resolution that is going on; answers have to give it back.
    #[must_use]
    pub fn round(&self) -> u64 {
        self.round
    }

    /// When [`Inquiry::tick`] has something to do.
    #[must_use]
    pub fn due(&self) -> Option<Millis> {
        match self.phase {
            _ if self.patience.nameservers == 0 => None,
            Phase::Resting(until) => Some(until),
            Phase::Asking(asking) => {
                Some(Millis(asking.since.0.saturating_add(self.patience.retry)))
            }
        }
    }

    /// Is due now, unless the last resolution ended less than `fresh` ms ago, or one is going on.
    pub fn hurry(&mut self, now: Millis, fresh: u64) {
        let is_fresh = self
            .ended
            .is_some_and(|at| now.0 < at.0.saturating_add(fresh));
        if let Phase::Resting(until) = &mut self.phase
            && !is_fresh
        {
            *until = (*until).min(now);
        }
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Millis) -> Step {
        if self.due().is_none_or(|due| now < due) {
            return Step::Wait;
        }
        let Phase::Asking(mut asking) = self.phase else {
            let left = self.patience.tries.saturating_sub(1);
            return self.ask(now, self.kind, left);
        };
        if asking.left == 0 {
            let status = asking.last.filter(|_| asking.errors > 0);
            return self.fail(now, status.map_or(Status::Timeout, Status::from));
        }
        match self.kind.fallback() {
            // Some have an error, others are silent: the other family may be known.
            Some(other) if asking.errors > 0 && asking.kind == self.kind => {
                self.ask(now, other, asking.left)
            }
            _ => {
                asking.left -= 1;
                self.ask(now, self.kind, asking.left)
            }
        }
    }

    /// One name server's answer to what was asked as `kind` in `round`.
    pub fn answered(
        &mut self,
        now: Millis,
        round: u64,
        kind: Kind,
        answer: Result<Answer, Failure>,
    ) -> Step {
        let Phase::Asking(asking) = &mut self.phase else {
            return Step::Wait;
        };
        // What is late is told to whoever asked first; that was long ago.
        if round != self.round || kind != asking.kind {
            return Step::Wait;
        }
        let failure = match answer {
            Ok(answer) => {
                self.last_valid = Some(now);
                self.rest(now);
                return Step::Valid(answer);
            }
            Err(failure) => failure,
        };
        asking.errors += 1;
        asking.last = Some(failure);
        let (left, all) = (asking.left, asking.errors >= self.patience.nameservers);
        match self.kind.fallback() {
            _ if !all => Step::Wait,
            Some(other) if kind == self.kind => self.ask(now, other, left),
            Some(_) if left == 0 => self.fail(now, failure.into()),
            // The next try comes when `retry` is over.
            _ => Step::Wait,
        }
    }

    /// Whether an error has to be borne: the last valid answer is not older than `hold` ms.
    #[must_use]
    pub fn holds(&self, now: Millis, hold: u64) -> bool {
        self.last_valid
            .is_some_and(|at| now.0 < at.0.saturating_add(hold))
    }

    fn ask(&mut self, now: Millis, kind: Kind, left: u32) -> Step {
        self.phase = Phase::Asking(Asking {
            kind,
            since: now,
            left,
            errors: 0,
            last: None,
        });
        Step::Ask(kind)
    }

    fn fail(&mut self, now: Millis, status: Status) -> Step {
        self.rest(now);
        Step::Failed(status)
    }

    fn rest(&mut self, now: Millis) {
        self.round += 1;
        self.ended = Some(now);
        self.phase = Phase::Resting(Millis(now.0.saturating_add(self.patience.resolve)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inquiry(kind: Kind, nameservers: usize) -> Inquiry {
        let patience = Patience {
            resolve: 1000,
            retry: 300,
            tries: 3,
            nameservers,
        };
        Inquiry::new("web.test".into(), kind, patience, Millis(5))
    }

    fn records() -> Answer {
        Answer::Addresses(vec!["192.0.2.1".parse().unwrap()])
    }

    /// Runs it against name servers that all answer at once; gives when it asked for what, and the end.
    fn against(
        mut it: Inquiry,
        answer: impl Fn(Kind) -> Option<Result<Answer, Failure>>,
    ) -> (Vec<(u64, Kind)>, u64, Step) {
        let mut asked = Vec::new();
        loop {
            let now = it.due().unwrap();
            let mut step = it.tick(now);
            while let Step::Ask(kind) = step {
                asked.push((now.0, kind));
                step = Step::Wait;
                for _ in 0..it.patience.nameservers {
                    if let (Some(answer), Step::Wait) = (answer(kind), &step) {
                        step = it.answered(now, it.round(), kind, answer);
                    }
                }
            }
            if step != Step::Wait {
                return (asked, now.0, step);
            }
        }
    }

    #[test]
    fn an_answer_ends_it() {
        let (asked, end, step) = against(inquiry(Kind::Aaaa, 2), |_| Some(Ok(records())));
        assert_eq!(asked, [(5, Kind::Aaaa)]);
        assert_eq!((end, step), (5, Step::Valid(records())));
    }

    #[test]
    fn the_other_family_is_asked_for_at_once() {
        let (asked, end, step) = against(inquiry(Kind::Aaaa, 2), |kind| {
            Some(match kind {
                Kind::A => Ok(records()),
                _ => Err(Failure::Empty),
            })
        });
        assert_eq!(asked, [(5, Kind::Aaaa), (5, Kind::A)]);
        assert_eq!((end, step), (5, Step::Valid(records())));
    }

    #[test]
    fn three_tries_before_an_error_of_a_host() {
        let (asked, end, step) = against(inquiry(Kind::Aaaa, 1), |_| Some(Err(Failure::Nx)));
        let (first, other) = (Kind::Aaaa, Kind::A);
        let expected = [
            (5, first),
            (5, other),
            (305, first),
            (305, other),
            (605, first),
            (605, other),
        ];
        assert_eq!(asked, expected);
        assert_eq!((end, step), (605, Step::Failed(Status::Nx)));
    }

    #[test]
    fn three_tries_before_an_error_of_a_service() {
        let (asked, end, step) = against(inquiry(Kind::Srv, 1), |_| Some(Err(Failure::Refused)));
        assert_eq!(asked.map_times(), [5, 305, 605]);
        assert_eq!((end, step), (905, Step::Failed(Status::Refused)));
    }

    #[test]
    fn three_tries_before_a_timeout() {
        let (asked, end, step) = against(inquiry(Kind::A, 2), |_| None);
        assert_eq!(asked, [5, 305, 605].map(|at| (at, Kind::A)));
        assert_eq!((end, step), (905, Step::Failed(Status::Timeout)));
    }

    trait Times {
        fn map_times(&self) -> Vec<u64>;
    }

    impl Times for Vec<(u64, Kind)> {
        fn map_times(&self) -> Vec<u64> {
            self.iter().map(|(at, _)| *at).collect()
        }
    }

    #[test]
    fn an_error_waits_for_the_slower_name_server() {
        let mut it = inquiry(Kind::A, 2);
        assert_eq!(it.tick(Millis(5)), Step::Ask(Kind::A));
        let round = it.round();
        let nx = Err(Failure::Nx);
        assert_eq!(it.answered(Millis(6), round, Kind::A, nx), Step::Wait);
        let step = it.answered(Millis(7), round, Kind::A, Ok(records()));
        assert_eq!(step, Step::Valid(records()));
    }

    #[test]
    fn one_error_and_silence_fall_back_when_the_time_is_up() {
        let mut it = inquiry(Kind::A, 2);
        assert_eq!(it.tick(Millis(5)), Step::Ask(Kind::A));
        let nx = Err(Failure::Nx);
        assert_eq!(it.answered(Millis(6), 0, Kind::A, nx), Step::Wait);
        assert_eq!(it.tick(Millis(304)), Step::Wait);
        assert_eq!(it.tick(Millis(305)), Step::Ask(Kind::Aaaa));
    }

    #[test]
    fn what_is_late_does_not_count() {
        let mut it = inquiry(Kind::A, 1);
        assert_eq!(it.tick(Millis(5)), Step::Ask(Kind::A));
        let empty = Err(Failure::Empty);
        let step = it.answered(Millis(6), 0, Kind::A, empty);
        assert_eq!(step, Step::Ask(Kind::Aaaa));
        // Of another kind.
        assert_eq!(
            it.answered(Millis(6), 0, Kind::A, Ok(records())),
            Step::Wait
        );
        let step = it.answered(Millis(7), 0, Kind::Aaaa, Ok(records()));
        assert_eq!(step, Step::Valid(records()));
        assert_eq!(it.tick(Millis(1007)), Step::Ask(Kind::A));
        // Of another resolution.
        assert_eq!(
            it.answered(Millis(1008), 0, Kind::A, Ok(records())),
            Step::Wait
        );
    }

    #[test]
    fn holds_count_from_the_last_valid_answer() {
        let mut it = inquiry(Kind::A, 1);
        assert!(!it.holds(Millis(5), 1000));
        it.tick(Millis(5));
        it.answered(Millis(10), 0, Kind::A, Ok(records()));
        assert!(it.holds(Millis(109), 100));
        assert!(!it.holds(Millis(110), 100));
        assert!(!it.holds(Millis(10), 0));
    }

    #[test]
    fn nobody_to_ask_is_never_due() {
        assert_eq!(inquiry(Kind::A, 0).due(), None);
    }
}

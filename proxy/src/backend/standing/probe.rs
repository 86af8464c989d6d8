//! A check of a server, or of its agent: whether it runs, what it found last, and how often.

use std::time::Duration;

use crate::backend::health::meter::Meter;
use crate::backend::health::status::{Outcome, Verdict};
use crate::config::model::check::{Agent, Check, Intervals};

/// HAProxy's bits of a check's state.
const CONFIGURED: u8 = 2;
const ENABLED: u8 = 4;
const PAUSED: u8 = 8;
const AGENT: u8 = 16;

/// A check.
#[derive(Debug, Clone)]
pub struct Probe {
    /// How far its server is from changing sides.
    pub meter: Meter,
    /// Nobody has switched it off.
    pub enabled: bool,
    /// Its server is in maintenance.
    pub paused: bool,
    /// What it found last.
    pub verdict: Verdict,
    intervals: Intervals,
    is_agent: bool,
}

impl Probe {
    /// Of a server.
    #[must_use]
    pub fn of_server(config: &Check) -> Self {
        Self {
            meter: Meter::new(config.rise, config.fall),
            enabled: true,
            paused: false,
            verdict: Verdict::default(),
            intervals: config.intervals,
            is_agent: false,
        }
    }

    /// Of a server's agent, whose word counts at once.
    #[must_use]
    pub fn of_agent(config: &Agent) -> Self {
        Self {
            meter: Meter::new(1, 1),
            enabled: true,
            paused: false,
            verdict: Verdict::default(),
            intervals: Intervals {
                usual: config.interval,
                changing: None,
                down: None,
            },
            is_agent: true,
        }
    }

    /// Whether it is to be made.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.enabled && !self.paused
    }

    /// How long to wait for the next one, milliseconds.
    #[must_use]
    pub fn interval(&self, server_is_down: bool) -> u64 {
        let Intervals {
            usual,
            changing,
            down,
        } = self.intervals;
        let wait = if self.meter.is_full() {
            usual
        } else if server_is_down && self.meter.health() == 0 {
            down.unwrap_or(usual)
        } else {
            changing.unwrap_or(usual)
        };
        millis(wait)
    }

    /// `fastinter`, milliseconds, where there is one.
    #[must_use]
    pub fn fast_interval(&self) -> Option<u64> {
        self.intervals.changing.map(millis)
    }

    /// HAProxy's number for what it found last (`srv_check_result`).
    #[must_use]
    pub fn result(&self) -> u8 {
        match self.verdict.status.outcome() {
            Outcome::Unknown => 0,
            Outcome::Neutral => 1,
            Outcome::Failed => 2,
            Outcome::Passed => 3,
            Outcome::PassedWith => 4,
        }
    }

    /// HAProxy's number for its state (`srv_check_state`).
    #[must_use]
    pub fn state(&self) -> u8 {
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        CONFIGURED
            | bit(self.enabled, ENABLED)
            | bit(self.paused, PAUSED)
            | bit(self.is_agent, AGENT)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

//! Dates as logs write them.

use std::io::Write as _;
use std::time::{Duration, SystemTime};

use crate::sys::process::{LocalTime, gmt_time, local_time};

/// Months as syslog and HAProxy write them.
pub(super) const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

fn since_epoch(at: SystemTime) -> Duration {
    at.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

/// Seconds since 1970.
#[must_use]
pub(super) fn seconds(at: SystemTime) -> i64 {
    i64::try_from(since_epoch(at).as_secs()).unwrap_or(i64::MAX)
}

/// Milliseconds of its second.
#[must_use]
pub(super) fn millis(at: SystemTime) -> u32 {
    since_epoch(at).subsec_millis()
}

/// Local time.
#[must_use]
pub(super) fn local(at: SystemTime) -> LocalTime {
    local_time(seconds(at))
}

/// `23/Nov/2026:05:55:55`
fn clf(out: &mut Vec<u8>, t: &LocalTime) {
    // Writing to memory cannot fail, here and below.
    let _ = write!(
        out,
        "{:02}/{}/{}:{:02}:{:02}:{:02}",
        t.day, MONTHS[t.month], t.year, t.hour, t.minute, t.second
    );
}

/// Local time with milliseconds: `23/Nov/2026:05:55:55.123`.
pub(super) fn date(out: &mut Vec<u8>, at: SystemTime) {
    clf(out, &local(at));
    let _ = write!(out, ".{:03}", millis(at));
}

/// Local time with its zone: `23/Nov/2026:05:55:55 +0100`.
pub(super) fn date_local(out: &mut Vec<u8>, at: SystemTime) {
    let t = local(at);
    clf(out, &t);
    let (sign, hours, minutes) = zone(&t);
    let _ = write!(out, " {sign}{hours:02}{minutes:02}");
}

/// Universal time: `23/Nov/2026:05:55:55 +0000`.
pub(super) fn date_gmt(out: &mut Vec<u8>, at: SystemTime) {
    clf(out, &gmt_time(seconds(at)));
    out.extend_from_slice(b" +0000");
}

/// ISO 8601 with microseconds and zone: `2026-11-23T05:55:55.123456+00:00`.
pub(super) fn iso(out: &mut Vec<u8>, at: SystemTime) {
    let t = local(at);
    let (sign, hours, minutes) = zone(&t);
    let _ = write!(
        out,
        "{}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}{sign}{hours:02}:{minutes:02}",
        t.year,
        t.month + 1,
        t.day,
        t.hour,
        t.minute,
        t.second,
        since_epoch(at).subsec_micros(),
    );
}

/// Sign, hours and minutes of the difference from universal time.
fn zone(t: &LocalTime) -> (char, u64, u64) {
    let sign = if t.offset < 0 { '-' } else { '+' };
    let minutes = t.offset.unsigned_abs() / 60;
    (sign, minutes / 60, minutes % 60)
}

//! Whether a stream is logged at its end, and how urgent its line is.

use super::{LEVEL_ERR, LEVEL_INFO};
use crate::config::model::LogOptions;
use crate::observe::record::{FlowRecord, LogLevel, Termination};

/// Whether something went wrong with a stream, in the sense of `option dontlog-normal` and `option
/// log-separate-errors`.
#[must_use]
pub fn is_error(record: &FlowRecord, termination: Termination) -> bool {
    termination != Termination::NORMAL || record.retries.get() > 0 || record.redispatched.get()
}

/// The level of the line that a stream that has ended gets; `None`: it gets none.
#[must_use]
pub fn at_the_end(
    options: &LogOptions,
    record: &FlowRecord,
    termination: Termination,
) -> Option<u8> {
    // What was logged early is not logged again.
    if !options.tcplog || record.logged.get() {
        return None;
    }
    // A stream in which the client says nothing is null, whatever the server says.
    let heard = record.heard.get() || record.up.bytes() > 0;
    if options.dontlognull && !heard {
        return None;
    }
    let error = is_error(record, termination);
    if options.dontlog_normal && !error {
        return None;
    }
    level(options, record.log_level.get(), error)
}

/// The level of the line that a stream gets as soon as it has a server; `None`: it gets none then.
#[must_use]
pub fn at_the_beginning(options: &LogOptions, record: &FlowRecord) -> Option<u8> {
    if !options.is_early() {
        return None;
    }
    let error = record.retries.get() > 0 || record.redispatched.get();
    if options.dontlog_normal && !error {
        return None;
    }
    level(options, record.log_level.get(), error)
}

fn level(options: &LogOptions, asked: LogLevel, error: bool) -> Option<u8> {
    match asked {
        LogLevel::Silent => None,
        LogLevel::Level(level) => Some(level),
        LogLevel::Usual if error && options.separate_errors => Some(LEVEL_ERR),
        LogLevel::Usual => Some(LEVEL_INFO),
    }
}

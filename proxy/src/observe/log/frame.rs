//! What stands before a line, and where it is cut.

use std::io::Write as _;
use std::time::SystemTime;

use super::{Identity, time};
use crate::config::model::{LogFormat, LogTarget};

/// A line before its target's header is put around it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line<'a> {
    /// Its urgency, 0 (emerg) to 7 (debug).
    pub(super) level: u8,
    /// When it is written.
    pub(super) now: SystemTime,
    /// The line.
    pub(super) text: &'a [u8],
    /// The structured data of RFC 5424.
    pub(super) structured: Option<&'a [u8]>,
}

/// Writes header and text, together no longer than the target takes. What tells one line from the next
/// comes besides, as in HAProxy.
pub(super) fn frame(target: &LogTarget, identity: &Identity, line: Line<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    header(target, identity, line, out);
    out.extend_from_slice(line.text);
    out.truncate(start + usize::from(target.max_len));
}

fn header(target: &LogTarget, identity: &Identity, line: Line<'_>, out: &mut Vec<u8>) {
    let level = line.level;
    let priority = u32::from(target.facility) * 8 + u32::from(level);
    let sent_host = identity.sent_host.as_deref();
    let tag = target.tag.as_deref().unwrap_or(&identity.tag);
    let pid = std::process::id();
    let format = target.format.unwrap_or(if sent_host.is_some() {
        LogFormat::Rfc3164
    } else {
        LogFormat::Local
    });
    // Writing to memory cannot fail.
    let _ = match format {
        LogFormat::Raw => Ok(()),
        LogFormat::Short => write!(out, "<{level}>"),
        LogFormat::Priority => write!(out, "<{priority}>"),
        LogFormat::Timed => {
            let _ = write!(out, "<{level}>");
            time::iso(out, line.now);
            write!(out, " ")
        }
        LogFormat::Iso => {
            time::iso(out, line.now);
            write!(out, " ")
        }
        LogFormat::Local | LogFormat::Rfc3164 => {
            let t = time::local(line.now);
            let _ = write!(
                out,
                "<{priority}>{} {:2} {:02}:{:02}:{:02} ",
                time::MONTHS[t.month],
                t.day,
                t.hour,
                t.minute,
                t.second
            );
            if format == LogFormat::Rfc3164 {
                let _ = write!(out, "{} ", sent_host.unwrap_or("localhost"));
            }
            write!(out, "{tag}[{pid}]: ")
        }
        LogFormat::Rfc5424 => {
            let _ = write!(out, "<{priority}>1 ");
            time::iso(out, line.now);
            let _ = write!(out, " {} {tag} {pid} - ", sent_host.unwrap_or("-"));
            out.extend_from_slice(line.structured.unwrap_or(b"-"));
            write!(out, " ")
        }
    };
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::config::model::LogAddress;

    fn framed(format: Option<LogFormat>, sent_host: Option<&str>, max_len: u16) -> String {
        let target = LogTarget {
            id: 0,
            address: LogAddress::Stdout,
            facility: 19,
            max_level: 7,
            min_level: 0,
            max_len,
            format,
            sample: None,
            tag: Some(Arc::from("tag")),
        };
        let identity = Identity {
            tag: "process".to_owned(),
            host: "host".to_owned(),
            sent_host: sent_host.map(str::to_owned),
        };
        let line = Line {
            level: 6,
            now: SystemTime::UNIX_EPOCH + Duration::from_micros(1_795_449_670_000_123),
            text: b"text",
            structured: None,
        };
        let mut out = Vec::new();
        frame(&target, &identity, line, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn headers() {
        let pid = std::process::id();
        // The dates depend on the time zone of the machine, so they are not looked at.
        let same = |format, host, before: &str, after: &str| {
            let line = framed(format, host, 1024);
            assert!(line.starts_with(before), "{line}");
            assert!(line.ends_with(after), "{line}");
        };
        let ends = format!(" tag[{pid}]: text");
        assert_eq!(framed(Some(LogFormat::Raw), None, 1024), "text");
        assert_eq!(framed(Some(LogFormat::Short), None, 1024), "<6>text");
        assert_eq!(framed(Some(LogFormat::Priority), None, 1024), "<158>text");
        same(Some(LogFormat::Timed), None, "<6>2026-11-2", " text");
        same(Some(LogFormat::Iso), None, "2026-11-2", " text");
        same(None, None, "<158>Nov 2", &ends);
        same(
            Some(LogFormat::Rfc3164),
            None,
            "<158>Nov 2",
            &format!(" localhost{ends}"),
        );
        same(None, Some("there"), "<158>Nov 2", &format!(" there{ends}"));
        let ends = format!(" - tag {pid} - - text");
        same(Some(LogFormat::Rfc5424), None, "<158>1 2026-11-2", &ends);
        assert!(framed(Some(LogFormat::Iso), None, 1024).contains(".000123"));
    }

    #[test]
    fn a_long_line_is_cut() {
        assert_eq!(framed(Some(LogFormat::Short), None, 5), "<6>te");
    }
}

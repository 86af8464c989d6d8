//! Rows as text.

use std::fmt::Write as _;

use super::columns::{FIXED, NAMES, SAYS};
use super::{Kind, Row, Value};

/// As comma-separated values under a header.
#[must_use]
pub fn csv(rows: &[Row]) -> String {
    let mut text = String::from("# ");
    for (at, name) in NAMES.iter().enumerate() {
        if at == FIXED {
            text.push_str("-,");
        }
        text.push_str(name);
        text.push(',');
    }
    text.push('\n');
    for row in rows {
        let mut cells = row.cells.iter().peekable();
        for at in 0..NAMES.len() {
            if at == FIXED {
                text.push_str("-,");
            }
            if let Some(cell) = cells.next_if(|cell| cell.column == at) {
                match &cell.value {
                    Value::Text(value) => quote(value, &mut text),
                    value => text.push_str(&value.to_string()),
                }
            }
            text.push(',');
        }
        text.push('\n');
    }
    text
}

/// A value in a line of its own each, with its type; `described`: and with what it is.
#[must_use]
pub fn typed(rows: &[Row], described: bool) -> String {
    let mut text = String::new();
    for row in rows {
        let letter = match row.kind {
            Kind::Frontend => 'F',
            Kind::Backend => 'B',
            Kind::Server => 'S',
        };
        for cell in &row.cells {
            // Writing to a text cannot fail.
            let _ = write!(
                text,
                "{letter}.{}.{}.{}.{}.1:{}:{}:{}",
                row.proxy,
                row.server,
                cell.column,
                NAMES[cell.column],
                cell.tags,
                cell.value.kind(),
                cell.value
            );
            if described {
                let _ = write!(text, ":\"{}\"", SAYS[cell.column]);
            }
            text.push('\n');
        }
    }
    text
}

/// Text is quoted where it would be ambiguous.
pub(crate) fn quote(value: &str, text: &mut String) {
    if value.contains([',', '"', '\n', '\r']) {
        text.push('"');
        text.push_str(&value.replace('"', "\"\""));
        text.push('"');
    } else {
        text.push_str(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        let mut row = Row::new(Kind::Server, 3, 1);
        row.put("pxname", "KNS", Value::Text("a,\"b\"".into()));
        row.put("svname", "KNS", Value::Text("s".into()));
        row.put("stot", "MCP", Value::U64(7));
        row.put("lastsess", "MAP", Value::S32(-1));
        row.put("ssl_sess", "MCP", Value::U64(0));
        row
    }

    #[test]
    fn csv_has_a_place_for_every_column() {
        let text = csv(&[row()]);
        let mut lines = text.lines();
        let header = lines.next().unwrap();
        assert!(header.starts_with("# pxname,svname,qcur,"), "{header}");
        assert!(header.ends_with(",h1_spliced_bytes_out,"), "{header}");
        assert!(header.contains(",agg_check_status,-,ssl_sess,"), "{header}");
        let line = lines.next().unwrap();
        let quoted = "\"a,\"\"b\"\"\"";
        let rest = line.strip_prefix(quoted).unwrap();
        assert_eq!(rest.matches(',').count(), header.matches(',').count());
        assert!(rest.starts_with(",s,,,,,,7,,"), "{line}");
        assert!(rest.contains(",,-,0,,"), "{line}");
        assert_eq!(lines.next(), None);
    }

    #[test]
    fn typed_lines() {
        assert_eq!(
            typed(&[row()], false),
            "S.3.1.0.pxname.1:KNS:str:a,\"b\"\nS.3.1.1.svname.1:KNS:str:s\nS.3.1.7.stot.1:MCP:u64:7\nS.3.1.55.lastsess.1:MAP:s32:-1\nS.3.1.103.ssl_sess.1:MCP:u64:0\n"
        );
    }

    #[test]
    fn values_say_what_they_are() {
        let text = typed(&[row()], true);
        let line = text.lines().nth(2).unwrap();
        assert_eq!(line, "S.3.1.7.stot.1:MCP:u64:7:\"Streams in all\"");
    }
}

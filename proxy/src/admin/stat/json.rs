//! Rows and facts as JSON, in HAProxy's schema.

use std::fmt::Write as _;

use super::columns::NAMES;
use super::{Kind, Row};

/// A value with what is known of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field<'a> {
    /// Its number.
    pub(crate) number: usize,
    /// Its name.
    pub(crate) name: &'a str,
    /// Origin, nature and scope: HAProxy's three letters.
    pub(crate) tags: &'a str,
    /// `u32`, `u64`, `s32` or `str`.
    pub(crate) kind: &'a str,
    /// The value as text.
    pub(crate) value: &'a str,
}

/// Rows, each a list of its values.
#[must_use]
pub fn rows(rows: &[Row]) -> String {
    let mut text = String::from("[");
    for (at, row) in rows.iter().enumerate() {
        text.push_str(if at == 0 { "[" } else { ",[" });
        let kind = match row.kind {
            Kind::Frontend => "Frontend",
            Kind::Backend => "Backend",
            Kind::Server => "Server",
        };
        for (at, cell) in row.cells.iter().enumerate() {
            if at > 0 {
                text.push(',');
            }
            // Writing to a text cannot fail, here and below.
            let _ = write!(
                text,
                "{{\"objType\":\"{kind}\",\"proxyId\":{},\"id\":{},",
                row.proxy, row.server
            );
            let value = cell.value.to_string();
            let field = Field {
                number: cell.column,
                name: NAMES[cell.column],
                tags: cell.tags,
                kind: cell.value.kind(),
                value: &value,
            };
            field.write(&mut text);
        }
        text.push(']');
    }
    text.push_str("]\n");
    text
}

/// A list of values.
pub(crate) fn fields<'a>(fields: impl Iterator<Item = Field<'a>>) -> String {
    let mut text = String::from("[");
    for (at, field) in fields.enumerate() {
        text.push_str(if at == 0 { "{" } else { ",{" });
        field.write(&mut text);
    }
    text.push_str("]\n");
    text
}

impl Field<'_> {
    /// Writes what is behind the opening brace.
    fn write(&self, text: &mut String) {
        let Self { number, name, .. } = self;
        let _ = write!(
            text,
            "\"field\":{{\"pos\":{number},\"name\":\"{name}\"}},\"processNum\":1,\"tags\":{{"
        );
        let words = [
            ("origin", origin as fn(char) -> &'static str),
            ("nature", nature),
            ("scope", scope),
        ];
        for (at, ((name, word), letter)) in words.into_iter().zip(self.tags.chars()).enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let _ = write!(text, "{comma}\"{name}\":\"{}\"", word(letter));
        }
        let _ = write!(text, "}},\"value\":{{\"type\":\"{}\",\"value\":", self.kind);
        if self.kind == "str" {
            string(self.value, text);
        } else {
            text.push_str(self.value);
        }
        text.push_str("}}");
    }
}

fn origin(letter: char) -> &'static str {
    match letter {
        'M' => "Metric",
        'S' => "Status",
        'K' => "Key",
        'C' => "Config",
        'P' => "Product",
        _ => "Unknown",
    }
}

fn nature(letter: char) -> &'static str {
    match letter {
        'A' => "Age",
        'C' => "Counter",
        'D' => "Duration",
        'G' => "Gauge",
        'L' => "Limit",
        'M' => "Max",
        'N' => "Name",
        'O' => "Output",
        'R' => "Rate",
        'T' => "Time",
        'a' => "Avg",
        'm' => "Min",
        _ => "Unknown",
    }
}

fn scope(letter: char) -> &'static str {
    match letter {
        'C' => "Cluster",
        'P' => "Process",
        'S' => "Service",
        's' => "System",
        _ => "Unknown",
    }
}

fn string(value: &str, text: &mut String) {
    text.push('"');
    for letter in value.chars() {
        match letter {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            letter if letter.is_control() => {
                let _ = write!(text, "\\u{:04x}", u32::from(letter));
            }
            letter => text.push(letter),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::super::Value;
    use super::*;

    #[test]
    fn rows_are_lists_of_values() {
        let mut row = Row::new(Kind::Server, 3, 1);
        row.put("pxname", "KNS", Value::Text("a\"\\\n".into()));
        row.put("lastsess", "MAP", Value::S32(-1));
        assert_eq!(
            rows(&[row, Row::new(Kind::Frontend, 2, 0)]),
            "[[{\"objType\":\"Server\",\"proxyId\":3,\"id\":1,\"field\":{\"pos\":0,\"name\":\"pxname\"},\
             \"processNum\":1,\"tags\":{\"origin\":\"Key\",\"nature\":\"Name\",\"scope\":\"Service\"},\
             \"value\":{\"type\":\"str\",\"value\":\"a\\\"\\\\\\u000a\"}},\
             {\"objType\":\"Server\",\"proxyId\":3,\"id\":1,\"field\":{\"pos\":55,\"name\":\"lastsess\"},\
             \"processNum\":1,\"tags\":{\"origin\":\"Metric\",\"nature\":\"Age\",\"scope\":\"Process\"},\
             \"value\":{\"type\":\"s32\",\"value\":-1}}],[]]\n"
        );
        assert_eq!(rows(&[]), "[]\n");
    }
}

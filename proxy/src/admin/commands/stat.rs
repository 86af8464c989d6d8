//! `show stat`.

use super::{Answer, Words, number};
use crate::admin::operator::Operator;
use crate::admin::stat::{self, Kind, Row, take};
use crate::config::model::StatsLevel;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Query {
    only: Option<Only>,
    format: Format,
    /// Typed values say what they are.
    described: bool,
    hide_maintained: bool,
    hide_down: bool,
}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Format {
    #[default]
    Csv,
    Typed,
    Json,
}

/// Some rows only.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Only {
    proxy: String,
    /// HAProxy's bits: 1 frontends, 2 backends, 4 servers; -1 all.
    kinds: i64,
    /// A server's number; -1: all.
    server: i64,
}

pub(super) fn show(words: &Words) -> Result<super::Command, Answer> {
    let mut query = Query::default();
    let mut at = 2;
    if words.get(at) == "domain" {
        if words.get(at + 1) != "proxy" {
            return Err(Answer::error("Invalid statistics domain.\n"));
        }
        at += 2;
    }
    if let [proxy, kinds, server, ..] = words.from(at) {
        query.only = Some(Only {
            proxy: proxy.clone(),
            kinds: number(kinds),
            server: number(server),
        });
        at += 3;
    }
    for word in words.from(at) {
        match word.as_str() {
            "typed" => query.format = Format::Typed,
            "no-maint" => query.hide_maintained = true,
            "up" => query.hide_down = true,
            "json" => query.format = Format::Json,
            "desc" => query.described = true,
            _ => {}
        }
    }
    Ok(super::Command::Stat(query))
}

impl Query {
    pub(super) async fn run(self, level: StatsLevel, operator: &Operator) -> Answer {
        operator.settle().await;
        let shared = &operator.shared;
        let proxy = match &self.only {
            None => None,
            Some(only) => match take::proxy_number(shared, &only.proxy) {
                Some(number) => Some(number),
                // HAProxy takes any other number for one of a proxy that there is not.
                None if number(&only.proxy) != 0 => Some(0),
                None => return Answer::error("No such proxy.\n"),
            },
        };
        let counted = self.hide_down || self.hide_maintained;
        let rows = take::rows(operator, level >= StatsLevel::Operator, counted);
        let rows: Vec<Row> = rows
            .into_iter()
            .filter(|row| self.shows(row, proxy))
            .collect();
        Answer::Dump(match self.format {
            Format::Csv => stat::text::csv(&rows),
            Format::Typed => stat::text::typed(&rows, self.described),
            Format::Json => stat::json::rows(&rows),
        })
    }

    fn shows(&self, row: &Row, proxy: Option<u32>) -> bool {
        let meant = self.only.as_ref().is_none_or(|only| {
            let bit = match row.kind {
                Kind::Frontend => 1,
                Kind::Backend => 2,
                Kind::Server => 4,
            };
            let server = row.kind != Kind::Server
                || only.server == -1
                || only.server == i64::from(row.server);
            // -1 is every proxy.
            let any = only.proxy == "-1";
            (any || proxy == Some(row.proxy)) && only.kinds & bit != 0 && server
        });
        let hidden = row.kind == Kind::Server
            && (((self.hide_maintained || self.hide_down) && row.maintained)
                || (self.hide_down && row.down));
        meant && !hidden
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(line: &str) -> Query {
        match show(&Words::of(line.as_bytes(), None)) {
            Ok(super::super::Command::Stat(query)) => query,
            other => panic!("{other:?}"),
        }
    }

    fn shown(line: &str) -> Vec<&'static str> {
        let row = |kind, server, name| (Row::new(kind, 3, server), name);
        let mut rows = [
            row(Kind::Frontend, 0, "f"),
            row(Kind::Server, 1, "s1"),
            row(Kind::Server, 2, "s2"),
            row(Kind::Server, 4, "s4"),
            row(Kind::Backend, 0, "b"),
        ];
        rows[2].0.maintained = true;
        rows[3].0.down = true;
        let query = query(line);
        let rows = rows.iter().filter(|(row, _)| query.shows(row, Some(3)));
        rows.map(|(_, name)| *name).collect()
    }

    #[test]
    fn rows_are_chosen() {
        let table: [(&str, &[&str]); 8] = [
            ("show stat", &["f", "s1", "s2", "s4", "b"]),
            ("show stat x", &["f", "s1", "s2", "s4", "b"]),
            ("show stat p 4 -1", &["s1", "s2", "s4"]),
            ("show stat p 4 2", &["s2"]),
            ("show stat -1 3 -1", &["f", "b"]),
            ("show stat domain proxy p 7 1", &["f", "s1", "b"]),
            ("show stat no-maint", &["f", "s1", "s4", "b"]),
            ("show stat up", &["f", "s1", "b"]),
        ];
        for (line, expected) in table {
            assert_eq!(shown(line), expected, "{line}");
        }
    }

    #[test]
    fn formats() {
        let described = query("show stat p 1 1 desc typed");
        assert!(described.format == Format::Typed && described.described);
        let up = query("show stat typed up");
        assert!(up.format == Format::Typed && up.hide_down && !up.described);
        assert_eq!(query("show stat json").format, Format::Json);
        let wrong = show(&Words::of(b"show stat domain x", None)).unwrap_err();
        assert!(format!("{wrong:?}").contains("Invalid statistics domain."));
    }
}

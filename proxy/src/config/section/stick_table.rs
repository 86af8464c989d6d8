//! `stick-table` lines.

use std::time::Duration;

use super::super::diagnostic::Fault;
use super::super::draft::{Kind as Section, Proxy};
use super::super::effect;
use super::super::keywords::nearest;
use super::super::lexer::Word;
use super::super::units;
use super::{Args, Context};
use crate::rules::sample::Kind;
use crate::rules::table::{Column, Periods, StoreSet, TableSettings};

/// The types of keys.
const TYPES: [(&str, Kind); 5] = [
    ("ip", Kind::Ipv4),
    ("ipv6", Kind::Ipv6),
    ("integer", Kind::Int),
    ("string", Kind::Str),
    ("binary", Kind::Bin),
];

/// The longest key, bytes: what fits a buffer of the smallest size with room to spare.
const LONGEST_KEY: usize = 8192;

/// Reads `stick-table type <type> [len <n>] size <n> [expire <time>] [nopurge] [store <data>,…]`.
pub(crate) fn line(
    args: Args<'_>,
    proxy: &mut Proxy,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    let keyword = args.keyword();
    if proxy.kind == Section::Defaults {
        return Err(keyword.fault("'stick-table' not allowed in 'defaults' section."));
    }
    if proxy.stick_table.is_some() {
        return Err(keyword.fault(format!(
            "stick-table name '{}' conflicts with the one that this section has already.",
            proxy.name
        )));
    }
    let mut words = args.from(1).iter();
    let mut kind = None;
    let mut size = None;
    let mut table = TableSettings {
        name: proxy.name.clone(),
        kind: Kind::Ipv4,
        key_len: TableSettings::DEFAULT_KEY_LEN,
        size: 0,
        expire: None,
        nopurge: false,
        stores: StoreSet::empty(),
        periods: Periods::default(),
    };
    while let Some(word) = words.next() {
        let mut argument = || {
            words
                .next()
                .ok_or_else(|| word.fault(format!("missing argument after '{}'.", word.text)))
        };
        match word.as_str() {
            "type" => {
                let name = argument()?;
                let found = TYPES.iter().find(|(known, _)| *known == name.text);
                kind = Some(found.map(|(_, kind)| *kind).ok_or_else(|| {
                    name.fault(format!(
                        "unknown type '{}' (expects 'ip', 'ipv6', 'integer', 'string' or 'binary').",
                        name.text
                    ))
                })?);
            }
            "len" => {
                let word = argument()?;
                if !matches!(kind, Some(Kind::Str | Kind::Bin)) {
                    return Err(word.fault("'len' is for tables of type 'string' or 'binary'."));
                }
                table.key_len = units::integer("len", word, 1..=LONGEST_KEY)?;
            }
            "size" => {
                let word = argument()?;
                let entries = units::size_of("size", word)?;
                size = Some(
                    usize::try_from(entries)
                        .ok()
                        .filter(|size| *size > 0)
                        .ok_or_else(|| word.fault(format!("invalid size '{}'.", word.text)))?,
                );
            }
            "expire" => table.expire = nonzero(units::time_of("expire", argument()?)?.duration),
            "nopurge" => table.nopurge = true,
            "store" => store(argument()?, &mut table)?,
            "peers" => {
                let peers = argument()?;
                effect::none(
                    word,
                    &format!("tables are not shared with the peers '{}'", peers.text),
                    &mut context.diagnostics,
                );
            }
            "srvkey" | "write-to" => {
                return Err(word.fault(format!(
                    "'{}' is known to HAProxy but not available in this version.",
                    word.text
                )));
            }
            name => {
                let known = ["type", "len", "size", "expire", "nopurge", "store", "peers"];
                let hint = nearest(name, known)
                    .map(|near| format!("; did you mean '{near}' maybe ?"))
                    .unwrap_or_default();
                return Err(word.fault(format!("unknown argument '{name}'{hint}")));
            }
        }
    }
    table.kind = kind.ok_or_else(|| keyword.fault("'stick-table' needs a 'type'."))?;
    table.size = size.ok_or_else(|| keyword.fault("'stick-table' needs a 'size'."))?;
    proxy.stick_table = Some(table);
    Ok(())
}

fn nonzero(time: Duration) -> Option<Duration> {
    (!time.is_zero()).then_some(time)
}

/// Reads `conn_cur,conn_rate(10s),…`.
fn store(word: &Word, table: &mut TableSettings) -> Result<(), Fault> {
    for item in word.text.split(',').filter(|item| !item.is_empty()) {
        let (name, argument) = match item.split_once('(') {
            None => (item, None),
            Some((name, rest)) => {
                let argument = rest
                    .strip_suffix(')')
                    .ok_or_else(|| word.fault(format!("missing ')' after '{name}'.")))?;
                (name, Some(argument))
            }
        };
        let Some(column) = Column::by_name(name) else {
            let known = Column::ALL.iter().map(|column| column.name());
            let hint = nearest(name, known)
                .map(|near| format!("; did you mean '{near}' maybe ?"))
                .unwrap_or_default();
            return Err(word.fault(format!("unknown data type '{name}'{hint}")));
        };
        if table.stores.contains(column.store()) {
            return Err(word.fault(format!("'{name}' is stored already.")));
        }
        table.stores |= column.store();
        match (column.is_rate(), argument) {
            (false, None) => {}
            (false, Some(_)) => {
                return Err(word.fault(format!("'{name}' takes no argument.")));
            }
            (true, None) => {
                return Err(word.fault(format!("'{name}' needs a period, as in {name}(10s).")));
            }
            (true, Some(period)) => {
                let time = units::time(period)
                    .map_err(|why| word.fault(format!("'{name}' : {why}")))?
                    .duration;
                let time = nonzero(time)
                    .ok_or_else(|| word.fault(format!("the period of '{name}' may not be 0.")))?;
                let periods = &mut table.periods;
                *match column {
                    Column::SessRate => &mut periods.sess,
                    Column::BytesInRate => &mut periods.bytes_in,
                    Column::BytesOutRate => &mut periods.bytes_out,
                    Column::Gpc0Rate => &mut periods.gpc0,
                    Column::Gpc1Rate => &mut periods.gpc1,
                    _ => &mut periods.conn,
                } = time;
            }
        }
    }
    Ok(())
}

//! `server-template` lines: many servers at once.

use std::ops::RangeInclusive;

use super::super::diagnostic::Fault;
use super::super::draft::Proxy;
use super::super::lexer::Word;
use super::{Args, Context, server};

/// Most servers that one line makes.
const MAX_SLOTS: u32 = 65_536;

/// Reads `server-template <prefix> <count | first-last> <fqdn>[:<port>] [parameters]`.
pub(crate) fn line(
    args: Args<'_>,
    proxy: &mut Proxy,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    let keyword = args.keyword();
    server::allowed(keyword, proxy)?;
    let (Some(prefix), Some(numbers), Some(target)) = (args.get(1), args.get(2), args.get(3))
    else {
        return Err(keyword.fault(
            "'server-template' expects <prefix> <nb | range> <addr>[:<port>] as arguments.",
        ));
    };
    super::proxy::check_name(prefix, "server-template")?;
    let range = range(numbers)?;
    let names = range.map(|number| format!("{}{number}", prefix.text));
    server::add(keyword, prefix, names, target, args.from(4), proxy, context)
}

/// `<count>` or `<first>-<last>`
fn range(word: &Word) -> Result<RangeInclusive<u32>, Fault> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u32>().ok().filter(|_| digits)
    };
    let range = match word.text.split_once('-') {
        None => number(&word.text).map(|last| (1, last)),
        Some((first, last)) => number(first).zip(number(last)),
    };
    let Some((first, last)) = range.filter(|(first, last)| first <= last) else {
        return Err(word.fault(format!(
            "Wrong server-template number or range arg '{}'.",
            word.text
        )));
    };
    if last - first >= MAX_SLOTS {
        return Err(word.fault(format!(
            "server-template range '{}' makes more than {MAX_SLOTS} servers.",
            word.text
        )));
    }
    Ok(first..=last)
}

//! `balance`, `hash-type` and `hash-balance-factor`.

use super::super::diagnostic::Fault;
use super::super::draft::Proxy;
use super::super::draft::balance::AlgorithmWords;
use super::super::keywords::{self, nearest};
use super::super::lexer::Word;
use super::super::model::balance::{Algorithm, DEFAULT_DRAWS, HashFunction, HashType, Method};
use super::super::units;
use super::proxy::{Side, warn_if_ignored};
use super::{Args, Context};

/// The keywords that are read here.
pub(super) const KEYWORDS: [&str; 3] = ["balance", "hash-type", "hash-balance-factor"];

const METHODS: [(&str, Method); 2] = [
    ("consistent", Method::Consistent),
    ("map-based", Method::MapBased),
];

const FUNCTIONS: [(&str, HashFunction); 4] = [
    ("sdbm", HashFunction::Sdbm),
    ("djb2", HashFunction::Djb2),
    ("wt6", HashFunction::Wt6),
    ("crc32", HashFunction::Crc32),
];

/// Reads one of [`KEYWORDS`].
pub(super) fn line(
    args: Args<'_>,
    proxy: &mut Proxy,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    let keyword = args.keyword();
    let settings = &mut proxy.settings.balance;
    match keyword.as_str() {
        "balance" => settings.algorithm = algorithm(args)?,
        "hash-type" => settings.hash = hash_type(args)?,
        _ => {
            let word = args.first("an integer argument")?;
            let factor = units::integer("hash-balance-factor", word, 0..=i32::MAX.unsigned_abs())?;
            if (1..=100).contains(&factor) {
                return Err(word.fault(format!(
                    "'hash-balance-factor' must be 0 or greater than 100 (got '{}').",
                    word.text
                )));
            }
            args.at_most(1)?;
            settings.factor = factor;
        }
    }
    warn_if_ignored(proxy, keyword.as_str(), keyword, Side::Back, context);
    Ok(())
}

/// Reads `balance <algorithm> [<expression>]`.
fn algorithm(args: Args<'_>) -> Result<AlgorithmWords, Fault> {
    let word = args.first("the name of an algorithm, such as 'roundrobin'")?;
    let plain = match word.as_str() {
        "roundrobin" => Algorithm::RoundRobin,
        "static-rr" => Algorithm::StaticRr,
        "leastconn" => Algorithm::LeastConn,
        "first" => Algorithm::First,
        "source" => Algorithm::Source,
        "hash" => {
            let expression = args
                .get(2)
                .filter(|expression| !expression.text.is_empty())
                .ok_or_else(|| word.fault("'balance hash' requires a sample expression."))?;
            if let Some(extra) = args.get(3) {
                return Err(extra.fault(format!(
                    "'balance hash' takes no other argument (got '{}'); converters follow a comma.",
                    extra.text
                )));
            }
            return Ok(AlgorithmWords::Hash(expression.clone()));
        }
        "random" => Algorithm::Random {
            draws: DEFAULT_DRAWS,
        },
        text => match text.strip_prefix("random(") {
            Some(rest) => Algorithm::Random {
                draws: draws(word, rest)?,
            },
            None => {
                // `hdr(name)` and its like carry their argument in the same word.
                let mut bare = word.clone();
                bare.text.truncate(text.find('(').unwrap_or(text.len()));
                if keywords::BALANCE.has(&bare.text) {
                    return Err(word.fault(format!(
                        "'balance {}' takes no argument in brackets (got '{text}').",
                        bare.text
                    )));
                }
                return Err(keywords::BALANCE.refuse(&bare));
            }
        },
    };
    if let (Algorithm::Random { .. }, Some(extra)) = (&plain, args.get(2)) {
        return Err(extra.fault(format!(
            "'balance random' takes its number of draws in brackets: 'random({})'.",
            extra.text
        )));
    }
    args.at_most(1)?;
    Ok(AlgorithmWords::Ready(plain))
}

/// The number of draws of `random(<draws>)`, of which `rest` follows the bracket.
fn draws(word: &Word, rest: &str) -> Result<u32, Fault> {
    let Some(number) = rest.strip_suffix(')') else {
        return Err(word.fault(format!(
            "'balance random' : missing closing bracket in '{}'.",
            word.text
        )));
    };
    if number.is_empty() {
        return Ok(DEFAULT_DRAWS);
    }
    let draws = number.parse::<u32>().ok();
    let draws = draws.filter(|draws| (1..=i32::MAX.unsigned_abs()).contains(draws));
    draws.ok_or_else(|| {
        word.fault(format!(
            "'balance random' expects a number of draws of at least 1 (got '{number}')."
        ))
    })
}

/// Reads `hash-type <method> [<function> [avalanche]]`.
fn hash_type(args: Args<'_>) -> Result<HashType, Fault> {
    let word = args.first("'consistent' or 'map-based'")?;
    if word.text == "avalanche" {
        return Err(word.fault(
            "'hash-type avalanche' is not supported anymore, please use 'hash-type map-based sdbm avalanche' instead.",
        ));
    }
    let method = one_of(&METHODS, word, "only supports 'consistent' and 'map-based'")?;
    let function = args.get(2).map(|word| {
        let what = "only supports 'sdbm', 'djb2', 'crc32', or 'wt6' hash functions";
        one_of(&FUNCTIONS, word, what)
    });
    let avalanche = args.get(3).map(|word| {
        let what = "only supports 'avalanche' as a modifier for hash functions";
        one_of(&[("avalanche", ())], word, what)
    });
    let function = function.transpose()?;
    let avalanche = avalanche.transpose()?.is_some();
    if let Some(extra) = args.get(4) {
        return Err(extra.fault(format!(
            "'hash-type' cannot handle unexpected argument '{}'.",
            extra.text
        )));
    }
    Ok(HashType {
        method,
        // Where points are to be found on a circle, hashes must be spread over all of it.
        avalanche: avalanche || (function.is_none() && method == Method::Consistent),
        function: function.unwrap_or_default(),
    })
}

fn one_of<T: Copy>(known: &[(&str, T)], word: &Word, what: &str) -> Result<T, Fault> {
    let found = known.iter().find(|(name, _)| *name == word.text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let hint = nearest(&word.text, known.iter().map(|(name, _)| *name))
            .map(|near| format!("; did you mean '{near}' maybe ?"))
            .unwrap_or_default();
        word.fault(format!("'hash-type' {what} (got '{}'){hint}", word.text))
    })
}

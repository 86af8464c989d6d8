//! `resolvers` sections: who is asked for the addresses of servers, and how patiently.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::super::address;
use super::super::diagnostic::{Diagnostics, Fault};
use super::super::draft::Draft;
use super::super::keywords::{self, nearest};
use super::super::lexer::Word;
use super::super::model::names::{Nameserver, Resolvers};
use super::super::units;
use super::proxy::check_name;
use super::{Args, Context, Position};

/// The port of name servers that are written without one.
const DNS_PORT: u16 = 53;
/// What an answer may be `hold`, as written.
const HOLDS: &[&str] = &["nx", "timeout", "refused", "valid", "obsolete", "other"];

/// Reads a section's first line: `resolvers <name>`.
///
/// The section is made whatever is wrong with that line, so that its other lines have a place.
pub(crate) fn open(args: Args<'_>, draft: &mut Draft) -> Result<(), Fault> {
    let keyword = args.keyword();
    let name = args.get(1);
    let twin = draft
        .resolvers
        .iter()
        .find(|other| name.is_some_and(|name| *other.name == *name.text))
        .map(|other| other.position.clone());
    draft.resolvers.push(Resolvers::new(
        Arc::from(name.map_or("", Word::as_str)),
        keyword.position.clone(),
    ));
    let name = name.ok_or_else(|| keyword.fault("missing name for resolvers section."))?;
    check_name(name, "resolvers")?;
    if let Some(position) = twin {
        return Err(name.fault(format!(
            "resolvers '{}' has same name as another resolvers (declared at {position}).",
            name.text
        )));
    }
    args.at_most(1)
}

/// Reads one line of a section.
pub(crate) fn line(
    args: Args<'_>,
    section: &mut Resolvers,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    let keyword = args.keyword();
    match keyword.as_str() {
        "nameserver" => nameserver(args, section, context),
        "parse-resolv-conf" => {
            args.at_most(0)?;
            let text = context
                .lookups
                .resolv_conf()
                .ok_or_else(|| keyword.fault("failed to open /etc/resolv.conf."))?;
            system_nameservers(&text, &keyword.position, section, &mut context.diagnostics);
            Ok(())
        }
        "hold" => hold(args, section),
        "resolve_retries" => {
            let word = args.first("<nb> as argument")?;
            section.retries = units::integer("resolve_retries", word, 0..=i32::MAX.unsigned_abs())?;
            args.at_most(1)
        }
        "timeout" => timeout(args, section, context),
        "accepted_payload_size" => {
            let word = args.first("<nb> as argument")?;
            section.payload = units::integer("accepted_payload_size", word, 12..=u16::MAX)?;
            args.at_most(1)
        }
        _ => Err(keywords::RESOLVERS.refuse(keyword)),
    }
}

/// `nameserver <name> <address>:<port>`
fn nameserver(args: Args<'_>, section: &mut Resolvers, context: &Context<'_>) -> Result<(), Fault> {
    let keyword = args.keyword();
    let (Some(name), Some(target)) = (args.get(1), args.get(2)) else {
        return Err(keyword.fault("'nameserver' expects <name> and <addr>[:<port>] as arguments."));
    };
    check_name(name, "nameserver")?;
    if let Some(other) = section
        .nameservers
        .iter()
        .find(|other| *other.name == *name.text)
    {
        return Err(name.fault(format!(
            "nameserver '{}' has same name as another nameserver (declared at {}).",
            name.text, other.position
        )));
    }
    let (address, tcp) = address::nameserver(&target.text, context.lookups)
        .map_err(|why| target.fault(format!("'nameserver {}' : {why}", name.text)))?;
    section.nameservers.push(Nameserver {
        name: Arc::from(name.as_str()),
        address,
        tcp,
        position: keyword.position.clone(),
    });
    args.at_most(2)
}

/// Adds the name servers of a `resolv.conf`.
pub(crate) fn system_nameservers(
    text: &str,
    position: &Position,
    section: &mut Resolvers,
    diagnostics: &mut Diagnostics,
) {
    for (number, line) in text.lines().enumerate() {
        let mut words = line.split_whitespace();
        if words.next() != Some("nameserver") {
            continue;
        }
        let place = format!("[/etc/resolv.conf:{}]", number + 1);
        let Some(word) = words.next() else {
            diagnostics.warning(
                position,
                format!("parsing {place} : nameserver line is missing address."),
            );
            continue;
        };
        let Ok(ip) = word.parse::<IpAddr>() else {
            diagnostics.warning(
                position,
                format!(
                    "parsing {place} : address '{word}' could not be recognized, nameserver will be excluded."
                ),
            );
            continue;
        };
        if let Some(other) = section
            .nameservers
            .iter()
            .find(|other| *other.name == *word)
        {
            diagnostics.warning(
                position,
                format!(
                    "parsing {place} : generated name for /etc/resolv.conf nameserver '{word}' conflicts with another nameserver (declared at {}), it appears to be a duplicate and will be excluded.",
                    other.position
                ),
            );
            continue;
        }
        section.nameservers.push(Nameserver {
            name: Arc::from(word),
            address: SocketAddr::new(ip, DNS_PORT),
            tcp: false,
            position: position.clone(),
        });
    }
}

/// `hold <status> <period>`
fn hold(args: Args<'_>, section: &mut Resolvers) -> Result<(), Fault> {
    let (Some(event), Some(value)) = (args.get(1), args.get(2)) else {
        return Err(args.keyword().fault(format!(
            "'hold' expects an <event> and a <time> as arguments; <event> is one of '{}'.",
            HOLDS.join("', '")
        )));
    };
    let hold = &mut section.hold;
    let slot = match event.as_str() {
        "nx" => &mut hold.nx,
        "timeout" => &mut hold.timeout,
        "refused" => &mut hold.refused,
        "valid" => &mut hold.valid,
        "obsolete" => &mut hold.obsolete,
        "other" => &mut hold.other,
        name => {
            let hint = nearest(name, HOLDS.iter().copied())
                .map(|near| format!("; did you mean '{near}' maybe ?"))
                .unwrap_or_default();
            return Err(event.fault(format!(
                "'hold' unknown <event>: '{name}', expects either '{}'{hint}",
                HOLDS.join("', '")
            )));
        }
    };
    *slot = units::time_of(&format!("hold {}", event.text), value)?.duration;
    args.at_most(2)
}

/// `timeout resolve|retry <time>`
fn timeout(
    args: Args<'_>,
    section: &mut Resolvers,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    const EXPECTED: &str = "'timeout' expects 'retry' or 'resolve' and <time> as arguments";
    let keyword = args.keyword();
    let event = args.get(1).ok_or_else(|| keyword.fault(EXPECTED))?;
    let slot = match event.as_str() {
        "resolve" => &mut section.resolve,
        "retry" => &mut section.retry,
        other => return Err(event.fault(format!("{EXPECTED} got '{other}'."))),
    };
    let value = args.get(2).ok_or_else(|| {
        event.fault(format!(
            "'timeout {}' expects <time> as argument.",
            event.text
        ))
    })?;
    let time = units::time_of(&format!("timeout {}", event.text), value)?.duration;
    if time < Duration::from_millis(1) {
        context.diagnostics.warning(
            &value.position,
            format!(
                "'timeout {}' : without a pause name servers would be asked for ever; {:?} is used.",
                event.text, slot
            ),
        );
    } else {
        *slot = time;
    }
    args.at_most(2)
}

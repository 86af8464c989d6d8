//! `mode`, `monitor-net` and `option httpchk`: who is told that the proxy lives, instead of being
//! served. HAProxy had these until version 2.2.

use std::net::IpAddr;

use ipnet::IpNet;

use super::super::diagnostic::Fault;
use super::super::draft::{Kind, Proxy};
use super::super::lexer::Word;
use super::super::model::Mode;
use super::{Args, Context, Modifier};

/// Reads a `mode` line.
pub(crate) fn mode(
    args: Args<'_>,
    proxy: &mut Proxy,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    let word = args.first("'tcp' or 'health'")?;
    proxy.settings.mode = match word.as_str() {
        "tcp" => Mode::Tcp,
        "health" => Mode::Health,
        "http" => {
            return Err(word.fault("'mode http' is not supported; this is a TCP proxy (mode tcp)."));
        }
        other => return Err(word.fault(format!("unknown proxy mode '{other}'."))),
    };
    if proxy.settings.mode == Mode::Health && proxy.kind == Kind::Backend {
        context.diagnostics.warning(
            &word.position,
            format!(
                "'mode health' ignored because backend '{}' has no frontend capability.",
                proxy.name
            ),
        );
    }
    args.at_most(1)
}

/// Reads a `monitor-net` line; several add up.
pub(crate) fn net(
    args: Args<'_>,
    proxy: &mut Proxy,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    let word = args.first("<address>[/<mask>]")?;
    let net = network(word, context)?;
    if !proxy.settings.monitor_net.contains(&net) {
        proxy.settings.monitor_net.push(net);
    }
    Ok(())
}

fn network(word: &Word, context: &Context<'_>) -> Result<IpNet, Fault> {
    let wrong = |why: String| word.fault(format!("'monitor-net' : {why} in '{}'", word.text));
    let (host, mask) = match word.text.split_once('/') {
        Some((host, mask)) => (host, Some(mask)),
        None => (word.as_str(), None),
    };
    let address = host
        .parse()
        .ok()
        .or_else(|| context.lookups.host(host).first().copied())
        .ok_or_else(|| wrong(format!("cannot resolve address '{host}'")))?;
    let length = match mask {
        None => bits(address),
        Some(mask) => prefix_length(mask, address)
            .ok_or_else(|| wrong(format!("invalid mask '{mask}' for {address}")))?,
    };
    IpNet::new(address, length)
        .map(|net| net.trunc())
        .map_err(|why| wrong(why.to_string()))
}

fn bits(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// A mask is a prefix length, or an address of the same family whose ones come first.
fn prefix_length(mask: &str, address: IpAddr) -> Option<u8> {
    if mask.bytes().all(|b| b.is_ascii_digit()) {
        return mask.parse().ok().filter(|&length| length <= bits(address));
    }
    let mask: IpAddr = mask.parse().ok()?;
    if mask.is_ipv4() != address.is_ipv4() {
        return None;
    }
    ipnet::ip_mask_to_prefix(mask).ok()
}

/// Reads `option httpchk`, which says how monitors are answered. Whether this is a place for it
/// only the whole section shows.
pub(crate) fn http_check(
    args: Args<'_>,
    modifier: Modifier,
    option: &Word,
    proxy: &mut Proxy,
) -> Result<(), Fault> {
    let on = modifier == Modifier::Standard;
    proxy.settings.http_check = on.then(|| option.clone());
    // Method, URI and version are for checks of servers.
    args.at_most(if on { 4 } else { 1 })
}

//! `timeout` lines.

use super::super::diagnostic::Fault;
use super::super::draft::Proxy;
use super::super::keywords;
use super::super::units;
use super::proxy::{Side, warn_if_ignored};
use super::{Args, Context};

/// Reads a `timeout` line; a bare number counts milliseconds, and 0 is no limit.
pub(crate) fn line(
    args: Args<'_>,
    proxy: &mut Proxy,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    let which = args.first(
        "'client', 'server', 'connect', 'check', 'queue', 'tunnel', 'client-fin' or 'server-fin'",
    )?;
    let name = which.as_str();
    let timeouts = &mut proxy.settings.timeouts;
    let (slot, side) = match name {
        "client" => (&mut timeouts.client, Side::Front),
        "client-fin" => (&mut timeouts.client_fin, Side::Front),
        "server" => (&mut timeouts.server, Side::Back),
        "server-fin" => (&mut timeouts.server_fin, Side::Back),
        "connect" => (&mut timeouts.connect, Side::Back),
        "queue" => (&mut timeouts.queue, Side::Back),
        "tunnel" => (&mut timeouts.tunnel, Side::Back),
        "check" => (&mut timeouts.check, Side::Back),
        _ => return Err(keywords::TIMEOUT.refuse(which)),
    };
    let Some(value) = args.get(2) else {
        return Err(which.fault(format!(
            "'timeout {name}' expects an integer value (in milliseconds)"
        )));
    };
    let time = units::time_of(&format!("timeout {name}"), value)?.duration;
    *slot = (!time.is_zero()).then_some(time);
    args.at_most(2)?;
    warn_if_ignored(proxy, &format!("timeout {name}"), which, side, context);
    Ok(())
}

//! `option`, `no option`, `default option`.

use super::super::diagnostic::Fault;
use super::super::draft::{Kind, Proxy};
use super::super::keywords;
use super::super::units;
use super::proxy::{Side, warn_if_ignored};
use super::{Args, Context, Modifier, check_options, monitor};

/// What `option redispatch` without a number means: on the last retry.
const DEFAULT_REDISPATCH: i32 = -1;

/// Reads an `option` line.
pub(crate) fn line(
    args: Args<'_>,
    modifier: Modifier,
    proxy: &mut Proxy,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    let option = args.first("an option name")?;
    let name = option.as_str();
    // Options that HAProxy cannot negate.
    if modifier != Modifier::Standard
        && (matches!(name, "tcpka" | "tcplog")
            || check_options::is_fixed(name)
            || !keywords::OPTION.knows(name))
    {
        return Err(option.fault(format!(
            "negation/default is not supported for option '{name}'."
        )));
    }
    if name == "httpchk" {
        return monitor::http_check(args, modifier, option, proxy);
    }
    let on = modifier == Modifier::Standard;
    let mut arguments = 0;
    if check_options::is_fixed(name) {
        args.at_most(1 + check_options::line(option, args, proxy)?)?;
        warn_if_ignored(proxy, name, option, Side::Back, context);
        return Ok(());
    }
    let settings = &mut proxy.settings;
    let side = match name {
        "dontlognull" => set(&mut settings.dontlognull, on, Side::Front),
        "dontlog-normal" => set(&mut settings.dontlog_normal, on, Side::Front),
        "logasap" => set(&mut settings.logasap, on, Side::Front),
        "log-separate-errors" => set(&mut settings.log_separate_errors, on, Side::Front),
        "clitcpka" => set(&mut settings.client_socket.keepalive, on, Side::Front),
        "srvtcpka" => set(&mut settings.server_socket.keepalive, on, Side::Back),
        "abortonclose" => set(&mut settings.abortonclose, on, Side::Back),
        "log-health-checks" => set(&mut settings.check.log, on, Side::Back),
        "allbackups" => set(&mut settings.all_backups, on, Side::Back),
        "independent-streams" => set(&mut settings.independent_streams, on, Side::Any),
        "splice-auto" => set(&mut settings.splice.auto, on, Side::Any),
        "splice-request" => set(&mut settings.splice.request, on, Side::Any),
        "splice-response" => set(&mut settings.splice.response, on, Side::Any),
        "nolinger" => {
            settings.client_socket.nolinger = on;
            set(&mut settings.server_socket.nolinger, on, Side::Any)
        }
        "tcpka" => {
            // Each half is set where the section has that side.
            settings.client_socket.keepalive |= proxy.kind.has_front();
            settings.server_socket.keepalive |= proxy.kind.has_back();
            Side::Any
        }
        "tcplog" => {
            settings.tcplog = true;
            settings.formats.stream = None;
            if proxy.kind == Kind::Backend {
                context.diagnostics.warning(
                    &option.position,
                    format!(
                        "backend '{}' : 'option tcplog' directive is ignored in backends.",
                        proxy.name
                    ),
                );
            }
            Side::Any
        }
        "redispatch" => {
            settings.redispatch = match args.get(2) {
                _ if !on => None,
                Some(word) => {
                    arguments = 1;
                    let interval = units::integer("option redispatch", word, i32::MIN..=i32::MAX)?;
                    // An interval of nothing is HAProxy's way to switch it off.
                    (interval != 0).then_some(interval)
                }
                None => Some(DEFAULT_REDISPATCH),
            };
            Side::Back
        }
        _ => {
            return Err(keywords::OPTION.refuse(option));
        }
    };
    args.at_most(1 + arguments)?;
    warn_if_ignored(proxy, name, option, side, context);
    Ok(())
}

fn set(flag: &mut bool, on: bool, side: Side) -> Side {
    *flag = on;
    side
}

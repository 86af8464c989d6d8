//! Fetches of what the client's connection is.

use std::net::{IpAddr, UdpSocket};

use super::{Call, Fetch};
use crate::config::diagnostic::Fault;
use crate::handshake::proxy_protocol::kind;
use crate::rules::names::Names;
use crate::rules::sample::{Kind, Sample, Value};
use crate::rules::scene::{Needs, Scene};

/// The names of this family.
pub(super) const NAMES: &[&str] = &[
    "src",
    "dst",
    "src_port",
    "dst_port",
    "src_is_local",
    "dst_is_local",
    "so_id",
    "so_name",
    "fc_rcvd_proxy",
    "fc_pp_authority",
    "fc_pp_unique_id",
    "fc_pp_tlv",
    "fc_rtt",
    "fc_rttvar",
];

/// One end of the connection.
#[derive(Debug, Clone, Copy)]
enum End {
    Source,
    Destination,
}

#[derive(Debug)]
enum Connection {
    Address(End),
    Port(End),
    IsLocal(End),
    ListenerId,
    ListenerName,
    /// Whether there was a PROXY header.
    Introduced,
    Tlv(u8),
    /// Round trip time or its variation, and by what to divide microseconds.
    Rtt {
        variation: bool,
        divisor: u32,
    },
}

/// Compiles a call of this family.
pub(super) fn compile(call: Call<'_>, _: &Names<'_>) -> Option<Result<Box<dyn Fetch>, Fault>> {
    let plain = match call.name {
        "src" => Connection::Address(End::Source),
        "dst" => Connection::Address(End::Destination),
        "src_port" => Connection::Port(End::Source),
        "dst_port" => Connection::Port(End::Destination),
        "src_is_local" => Connection::IsLocal(End::Source),
        "dst_is_local" => Connection::IsLocal(End::Destination),
        "so_id" => Connection::ListenerId,
        "so_name" => Connection::ListenerName,
        "fc_rcvd_proxy" => Connection::Introduced,
        "fc_pp_authority" => Connection::Tlv(kind::AUTHORITY),
        "fc_pp_unique_id" => Connection::Tlv(kind::UNIQUE_ID),
        "fc_pp_tlv" | "fc_rtt" | "fc_rttvar" => return Some(with_argument(call).map(boxed)),
        _ => return None,
    };
    Some(call.count(0..=0).map(|()| boxed(plain)))
}

fn boxed(fetch: Connection) -> Box<dyn Fetch> {
    Box::new(fetch)
}

fn with_argument(call: Call<'_>) -> Result<Connection, Fault> {
    if call.name == "fc_pp_tlv" {
        call.count(1..=1)?;
        let text = &call.arguments[0];
        let number = match text.strip_prefix("0x") {
            Some(digits) => u8::from_str_radix(digits, 16),
            None => text.parse(),
        };
        return number
            .map(Connection::Tlv)
            .map_err(|_| call.refuse(0, "is not a TLV's type (0 to 255)"));
    }
    call.count(0..=1)?;
    let divisor = match call.text(0) {
        None | Some("ms") => 1000,
        Some("us") => 1,
        Some(_) => return Err(call.refuse(0, "is neither 'us' nor 'ms'")),
    };
    Ok(Connection::Rtt {
        variation: call.name == "fc_rttvar",
        divisor,
    })
}

/// Whether an address is one of this machine's, which is what can be bound to.
fn is_local(address: IpAddr) -> bool {
    address.is_loopback() || UdpSocket::bind((address, 0)).is_ok()
}

impl Fetch for Connection {
    fn kind(&self) -> Kind {
        match self {
            Self::Address(_) => Kind::Address,
            Self::Port(_) | Self::ListenerId | Self::Rtt { .. } => Kind::Int,
            Self::IsLocal(_) | Self::Introduced => Kind::Bool,
            Self::ListenerName => Kind::Str,
            // Of these two it is known that they are text.
            Self::Tlv(kind::AUTHORITY | kind::UNIQUE_ID) => Kind::Str,
            Self::Tlv(_) => Kind::Bin,
        }
    }

    fn needs(&self) -> Needs {
        match self {
            Self::Introduced | Self::Tlv(_) => Needs::SESSION,
            _ => Needs::CONNECTION,
        }
    }

    fn look<'a>(&self, scene: &Scene<'a>) -> Sample<'a> {
        let end = |end: End| match end {
            End::Source => scene.source,
            End::Destination => scene.destination(),
        };
        let value = match self {
            Self::Address(which) => end(*which).map(|address| Value::from(address.ip())),
            Self::Port(which) => end(*which).map(|address| Value::Int(address.port().into())),
            Self::IsLocal(which) => end(*which).map(|address| Value::Bool(is_local(address.ip()))),
            Self::ListenerId => Some(Value::Int(scene.listener.0.into())),
            Self::ListenerName => {
                let name = scene.listener.1;
                (!name.is_empty()).then_some(Value::Str(name.as_bytes()))
            }
            Self::Introduced => Some(Value::Bool(scene.proxy.is_some())),
            Self::Tlv(wanted) => {
                scene
                    .proxy
                    .and_then(|header| header.tlvs.get(*wanted))
                    .map(|value| match self.kind() {
                        Kind::Str => Value::Str(value),
                        _ => Value::Bin(value),
                    })
            }
            Self::Rtt { variation, divisor } => {
                let info = scene
                    .client_tcp
                    .and_then(super::super::scene::ClientTcp::info);
                info.map(|info| {
                    let time = if *variation { info.rtt_var } else { info.rtt };
                    Value::Int((time / divisor).into())
                })
            }
        };
        value.map_or(Sample::Absent, Sample::Is)
    }
}

//! Converters of addresses.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Answer, Convert, answer};
use crate::config::diagnostic::Fault;
use crate::rules::fetch::Call;
use crate::rules::pattern::{mask4, mask6};
use crate::rules::sample::{Kind, Value};
use crate::rules::scene::Scene;

pub(super) fn compile(call: Call<'_>) -> Answer {
    match call.name {
        "ipmask" => answer(mask(call)),
        _ => None,
    }
}

#[derive(Debug)]
struct Mask {
    v4: u32,
    /// `None`: an IPv6 address that holds no IPv4 one has no result.
    v6: Option<u128>,
}

fn mask(call: Call<'_>) -> Result<Mask, Fault> {
    call.count(1..=2)?;
    let v4 = mask4(&call.arguments[0]).ok_or_else(|| call.refuse(0, "is not an IPv4 mask"))?;
    let v6 = call
        .text(1)
        .map(|text| mask6(text).ok_or_else(|| call.refuse(1, "is not an IPv6 mask")))
        .transpose()?;
    Ok(Mask { v4, v6 })
}

impl Convert for Mask {
    fn input(&self) -> Kind {
        Kind::Address
    }

    fn output(&self) -> Kind {
        Kind::Address
    }

    fn convert<'a>(&self, value: Value<'a>, _: &Scene<'a>) -> Option<Value<'a>> {
        let v4 = match value {
            Value::Ipv4(address) => Some(address),
            Value::Ipv6(address) => address.to_ipv4_mapped(),
            _ => return None,
        };
        match (v4, value) {
            (Some(address), _) => Some(Value::Ipv4(Ipv4Addr::from_bits(
                address.to_bits() & self.v4,
            ))),
            (None, Value::Ipv6(address)) => Some(Value::Ipv6(Ipv6Addr::from_bits(
                address.to_bits() & self.v6?,
            ))),
            (None, _) => None,
        }
    }
}

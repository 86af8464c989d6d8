//! The fields that messages are made of.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Refusal;

/// Address kinds.
pub(super) const NONE: u8 = 0;
pub(super) const V4: u8 = 1;
pub(super) const V6: u8 = 2;
pub(super) const UNIX: u8 = 3;
pub(super) const NAME: u8 = 4;

/// Reads fields one after the other.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, count: usize, field: &'static str) -> Result<&'a [u8], Refusal> {
        let (head, rest) = self
            .0
            .split_at_checked(count)
            .ok_or(Refusal::Short(field))?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Refusal> {
        let (head, rest) = self
            .0
            .split_first_chunk::<N>()
            .ok_or(Refusal::Short(field))?;
        self.0 = rest;
        Ok(*head)
    }

    pub(super) fn byte(&mut self, field: &'static str) -> Result<u8, Refusal> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    pub(super) fn number(&mut self, field: &'static str) -> Result<u16, Refusal> {
        self.array(field).map(u16::from_be_bytes)
    }

    /// The rest of an address of kind `kind`; `None` where that is no kind of IP address.
    pub(super) fn inet(
        &mut self,
        kind: u8,
        field: &'static str,
    ) -> Result<Option<SocketAddr>, Refusal> {
        let ip = match kind {
            V4 => IpAddr::V4(Ipv4Addr::from(self.array::<4>(field)?)),
            V6 => IpAddr::V6(Ipv6Addr::from(self.array::<16>(field)?)),
            _ => return Ok(None),
        };
        Ok(Some(SocketAddr::new(ip, self.number(field)?)))
    }

    /// An IP address that may be absent.
    pub(super) fn endpoint(&mut self, field: &'static str) -> Result<Option<SocketAddr>, Refusal> {
        match self.byte(field)? {
            NONE => Ok(None),
            kind => match self.inet(kind, field)? {
                None => Err(Refusal::Kind { field, kind }),
                found => Ok(found),
            },
        }
    }

    /// Bytes behind their number.
    pub(super) fn counted(&mut self, field: &'static str) -> Result<&'a [u8], Refusal> {
        let count = self.byte(field)?;
        self.take(usize::from(count), field)
    }

    pub(super) fn end(self) -> Result<(), Refusal> {
        match self.0.len() {
            0 => Ok(()),
            count => Err(Refusal::Trailing(count)),
        }
    }
}

/// A host name: letters, digits, hyphens, dots, underscores.
pub(super) fn host_name(bytes: &[u8], field: &'static str) -> Result<String, Refusal> {
    let refused = |why| Err(Refusal::Text { field, why });
    if bytes.is_empty() {
        return refused("is empty");
    }
    if bytes.len() > super::request::MAX_NAME {
        return refused("is longer than a host name can be");
    }
    let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    if !bytes.iter().all(plain) {
        return refused("holds what a host name cannot");
    }
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

pub(super) fn put_inet(address: SocketAddr, into: &mut Vec<u8>) {
    match address.ip() {
        IpAddr::V4(ip) => {
            into.push(V4);
            into.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            into.push(V6);
            into.extend_from_slice(&ip.octets());
        }
    }
    into.extend_from_slice(&address.port().to_be_bytes());
}

pub(super) fn put_endpoint(address: Option<SocketAddr>, into: &mut Vec<u8>) {
    match address {
        None => into.push(NONE),
        Some(address) => put_inet(address, into),
    }
}

/// At most 255 bytes of it.
pub(super) fn put_counted(bytes: &[u8], into: &mut Vec<u8>) {
    let count = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
    into.push(count);
    into.extend_from_slice(&bytes[..usize::from(count)]);
}

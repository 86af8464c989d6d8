//! What a daemon asks: a connection to this target, for this client, in the clear or in TLS.

use std::ffi::OsStr;
use std::fmt;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::fields::{NAME, Reader, UNIX, host_name, put_counted, put_endpoint, put_inet};
use super::{Progress, Refusal, frame, message};

const SIGNATURE: [u8; 4] = *b"\0RTQ";

/// Longest host name, bytes.
pub(super) const MAX_NAME: usize = 253;
/// Longest path of a UNIX socket, bytes.
const MAX_PATH: usize = 107;
/// A host name as a target, a host name to send, an IPv6 source.
const MAX_BODY: usize = (1 + 1 + MAX_NAME + 2) + (1 + MAX_NAME) + (1 + 16 + 2);

const TLS: u8 = 0x01;
const VERIFY: u8 = 0x02;
const SNI: u8 = 0x04;

/// Where a connection is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// An IP address.
    Inet(SocketAddr),
    /// A UNIX socket of the agent's host.
    Unix(PathBuf),
    /// A host by a name that the agent looks up, and a port.
    Name(String, u16),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => address.fmt(f),
            // Whoever asks has chosen it, and it ends up in logs.
            Self::Unix(path) => write!(f, "unix@{}", path.as_os_str().as_bytes().escape_ascii()),
            Self::Name(name, port) => write!(f, "{name}:{port}"),
        }
    }
}

/// The TLS that the agent is to do with the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The target's certificate must be valid.
    pub verify: bool,
    /// The name to ask for, and, if verified, to find in the certificate.
    pub sni: Option<String>,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Where to.
    pub target: Target,
    /// In TLS; `None`: in the clear.
    pub tls: Option<Tls>,
    /// The client that it is for, for the agent's log; `None`: it has no IP address.
    pub source: Option<SocketAddr>,
}

impl Request {
    /// Its bytes. Names and paths longer than the protocol allows are cut; the configuration has
    /// refused such before.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut flags = 0;
        let mut body = Vec::new();
        match &self.target {
            Target::Inet(address) => put_inet(*address, &mut body),
            Target::Unix(path) => {
                body.push(UNIX);
                put_counted(path.as_os_str().as_bytes(), &mut body);
            }
            Target::Name(name, port) => {
                body.push(NAME);
                put_counted(name.as_bytes(), &mut body);
                body.extend_from_slice(&port.to_be_bytes());
            }
        }
        if let Some(tls) = &self.tls {
            flags |= TLS;
            if tls.verify {
                flags |= VERIFY;
            }
            if let Some(name) = &tls.sni {
                flags |= SNI;
                put_counted(name.as_bytes(), &mut body);
            }
        }
        put_endpoint(self.source, &mut body);
        message(SIGNATURE, flags, &body)
    }

    /// Reads the request at the beginning of `bytes`, which is everything received so far. More
    /// bytes never change a refusal or a complete request.
    ///
    /// # Errors
    /// Why it is none, as soon as that is certain.
    pub fn read(bytes: &[u8]) -> Result<Progress<Self>, Refusal> {
        let frame = match frame(bytes, SIGNATURE, MAX_BODY, check_flags)? {
            Ok(frame) => frame,
            Err(at_least) => return Ok(Progress::Partial { at_least }),
        };
        let length = super::HEAD + frame.body.len();
        let mut fields = Reader(frame.body);
        let target = target(&mut fields)?;
        let has = |flag| frame.word & flag != 0;
        let mut sni = None;
        if has(SNI) {
            sni = Some(host_name(fields.counted("server name")?, "server name")?);
        }
        let source = fields.endpoint("source")?;
        fields.end()?;
        let tls = has(TLS).then_some(Tls {
            verify: has(VERIFY),
            sni,
        });
        let message = Self {
            target,
            tls,
            source,
        };
        Ok(Progress::Complete { message, length })
    }
}

fn check_flags(flags: u8) -> Result<(), Refusal> {
    if flags & !(TLS | VERIFY | SNI) != 0 {
        return Err(Refusal::Flags(flags));
    }
    if flags != 0 && flags & TLS == 0 {
        return Err(Refusal::FlagsWithoutTls(flags));
    }
    Ok(())
}

fn target(fields: &mut Reader<'_>) -> Result<Target, Refusal> {
    const FIELD: &str = "target";
    let kind = fields.byte(FIELD)?;
    let target = match kind {
        UNIX => {
            let path = fields.counted(FIELD)?;
            let refused = |why| Err(Refusal::Text { field: FIELD, why });
            if path.is_empty() {
                return refused("is empty");
            }
            if path.len() > MAX_PATH {
                return refused("is longer than the path of a socket can be");
            }
            if path.contains(&0) {
                return refused("holds a NUL");
            }
            return Ok(Target::Unix(PathBuf::from(OsStr::from_bytes(path))));
        }
        NAME => {
            let name = host_name(fields.counted(FIELD)?, FIELD)?;
            Target::Name(name, fields.number(FIELD)?)
        }
        kind => match fields.inet(kind, FIELD)? {
            Some(address) => Target::Inet(address),
            None => return Err(Refusal::Kind { field: FIELD, kind }),
        },
    };
    // To a kernel the unspecified address is the host itself, which would get around the agent's list.
    let nowhere = match &target {
        Target::Inet(address) => {
            address.port() == 0 || address.ip().to_canonical().is_unspecified()
        }
        Target::Name(_, port) => *port == 0,
        Target::Unix(_) => false,
    };
    if nowhere {
        return Err(Refusal::NoTarget(target.to_string()));
    }
    Ok(target)
}

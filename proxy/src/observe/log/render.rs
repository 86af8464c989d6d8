//! Writes a stream's line in a format.

use std::fmt;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::format::{Flags, Format, Piece, Variable};
use super::line::{StreamLine, inet, plain};
use super::time;
use crate::observe::record::{Endpoint, Termination, Why};

impl StreamLine {
    /// Writes the line in `format`. `host` is the host's name.
    pub fn write(&self, format: &Format, host: &str, out: &mut Vec<u8>) {
        // What came before belongs to another line.
        let mut spaced = true;
        for piece in &format.pieces {
            match piece {
                Piece::Space => {
                    if !spaced {
                        out.push(b' ');
                    }
                    spaced = true;
                    continue;
                }
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Variable(variable, flags) => self.variable(*variable, *flags, host, out),
                Piece::Expression(number, flags) => {
                    let values = self.notes.as_ref().map(|notes| &notes.values);
                    let value = values.and_then(|values| values.get(*number));
                    text(value.and_then(Option::as_deref), *flags, out);
                }
            }
            spaced = false;
        }
    }

    fn variable(&self, variable: Variable, flags: Flags, host: &str, out: &mut Vec<u8>) {
        let notes = self.notes.as_deref();
        let destination = notes.and_then(|notes| notes.destination);
        let [source, server] = notes.map_or([None; 2], |notes| [notes.source, notes.server]);
        let c = &self.concurrency;
        let (up, down) = (&self.up, &self.down);
        match variable {
            Variable::BytesDown => growing(self.plus(), down.bytes, out),
            Variable::BytesUp => number(up.bytes, out),
            Variable::HostName => text(Some(host.as_bytes()), flags, out),
            Variable::UniqueId => {
                let id = notes.and_then(|notes| notes.unique_id.as_deref());
                text(id.map(str::as_bytes), flags, out);
            }
            Variable::DateGmt => time::date_gmt(out, self.accepted_at),
            Variable::DateLocal => time::date_local(out, self.accepted_at),
            Variable::Date => time::date(out, self.accepted_at),
            Variable::Seconds => {
                hex_or_number(
                    time::seconds(self.accepted_at).unsigned_abs(),
                    4,
                    flags,
                    out,
                );
            }
            Variable::Millis => {
                let millis = time::millis(self.accepted_at);
                // Writing to memory cannot fail, here and below.
                let _ = if flags.contains(Flags::HEX) {
                    write!(out, "{millis:02X}")
                } else {
                    write!(out, "{millis:03}")
                };
            }
            Variable::ConnectTime => duration("", self.connect, out),
            Variable::DataTime => duration("", self.data_time(), out),
            Variable::HandshakeTime => duration("", Some(self.handshake), out),
            Variable::TotalTime | Variable::UserTime => {
                duration(self.plus(), Some(self.total), out);
            }
            Variable::WaitTime => duration("", self.wait, out),
            Variable::ProcessConnections => number(c.process, out),
            Variable::FrontendConnections => number(c.frontend, out),
            Variable::BackendConnections => number(c.backend, out),
            Variable::ServerConnections => number(c.server, out),
            Variable::Backend => text(Some(self.backend_name().as_bytes()), flags, out),
            Variable::Server => text(Some(self.server_name().as_bytes()), flags, out),
            Variable::Frontend => text(Some(self.frontend.as_bytes()), flags, out),
            Variable::FrontendTransport => self.frontend_transport(flags, out),
            Variable::BackendQueue => number(self.queued[1], out),
            Variable::ServerQueue => number(self.queued[0], out),
            Variable::BackendSourceIp => ip(source, flags, out),
            Variable::BackendSourcePort => port(source, flags, out),
            Variable::ServerIp => ip(server, flags, out),
            Variable::ServerPort => port(server, flags, out),
            Variable::ClientIp => self.end_ip(inet(self.client), flags, out),
            Variable::ClientPort => self.end_port(inet(self.client), flags, out),
            Variable::FrontendIp => self.end_ip(destination, flags, out),
            Variable::FrontendPort => self.end_port(destination, flags, out),
            Variable::LogCount => hex_or_number(self.count, 4, flags, out),
            Variable::Pid => hex_or_number(u64::from(std::process::id()), 4, flags, out),
            Variable::Number => {
                hex_or_number(notes.map_or(0, |notes| notes.number), 4, flags, out);
            }
            Variable::Retries => growing(self.redispatch(), self.retries, out),
            Variable::TlsCipher => {
                let tls = notes.and_then(|notes| notes.tls);
                text(tls.map(|(_, cipher)| cipher.as_bytes()), flags, out);
            }
            Variable::TlsVersion => {
                let tls = notes.and_then(|notes| notes.tls);
                text(tls.map(|(version, _)| version.as_bytes()), flags, out);
            }
            Variable::Termination => number(self.letters(), out),
            Variable::TerminationCookie => {
                number(self.letters(), out);
                out.extend_from_slice(b"--");
            }
            Variable::Paths => pair(up.path.name(), down.path.name(), out),
            Variable::PathUp => text(Some(up.path.name().as_bytes()), flags, out),
            Variable::PathDown => text(Some(down.path.name().as_bytes()), flags, out),
            Variable::Kernel => pair(up.kernel, down.kernel, out),
            Variable::KernelUp => number(up.kernel, out),
            Variable::KernelDown => number(down.kernel, out),
            Variable::Flips => pair(up.flips, down.flips, out),
            Variable::FlipsUp => number(up.flips, out),
            Variable::FlipsDown => number(down.flips, out),
            Variable::Why => text(self.why.map(Why::name).map(str::as_bytes), flags, out),
            Variable::Ends => text(self.ends.as_deref().map(str::as_bytes), flags, out),
            Variable::Flow => hex_or_number(self.id, 4, flags, out),
        }
    }

    /// How long data were carried.
    fn data_time(&self) -> Option<Duration> {
        let before = self.wait? + self.connect?;
        Some(self.total.saturating_sub(before))
    }

    fn letters(&self) -> Termination {
        self.termination.unwrap_or(Termination::NORMAL)
    }

    fn frontend_transport(&self, flags: Flags, out: &mut Vec<u8>) {
        let name = format!("{}{}", self.frontend, self.tilde());
        text(Some(name.as_bytes()), flags, out);
    }

    /// An address on the client's side; a UNIX socket has the name `unix` instead.
    fn end_ip(&self, address: Option<SocketAddr>, flags: Flags, out: &mut Vec<u8>) {
        if self.client == Endpoint::Unix && address.is_none() {
            text(Some(b"unix"), flags, out);
        } else {
            ip(address, flags, out);
        }
    }

    /// A port on the client's side; a UNIX socket has the number of the listening address instead.
    fn end_port(&self, address: Option<SocketAddr>, flags: Flags, out: &mut Vec<u8>) {
        if self.client == Endpoint::Unix && address.is_none() {
            number(self.notes.as_ref().map_or(0, |notes| notes.listener), out);
        } else {
            port(address, flags, out);
        }
    }
}

fn number(value: impl fmt::Display, out: &mut Vec<u8>) {
    let _ = write!(out, "{value}");
}

fn growing(plus: &str, value: impl fmt::Display, out: &mut Vec<u8>) {
    let _ = write!(out, "{plus}{value}");
}

fn pair(up: impl fmt::Display, down: impl fmt::Display, out: &mut Vec<u8>) {
    let _ = write!(out, "{up}/{down}");
}

fn duration(plus: &str, value: Option<Duration>, out: &mut Vec<u8>) {
    let _ = match value {
        Some(value) => write!(out, "{plus}{}", value.as_millis()),
        None => write!(out, "-1"),
    };
}

fn hex_or_number(value: u64, digits: usize, flags: Flags, out: &mut Vec<u8>) {
    let _ = if flags.contains(Flags::HEX) {
        write!(out, "{value:0digits$X}")
    } else {
        write!(out, "{value}")
    };
}

fn ip(address: Option<SocketAddr>, flags: Flags, out: &mut Vec<u8>) {
    let Some(address) = address else {
        return text(None, flags, out);
    };
    let address = plain(address.ip());
    if !flags.contains(Flags::HEX) {
        return text(Some(address.to_string().as_bytes()), flags, out);
    }
    let _ = match address {
        IpAddr::V4(address) => write!(out, "{:08X}", address.to_bits()),
        IpAddr::V6(address) => write!(out, "{:032X}", address.to_bits()),
    };
}

fn port(address: Option<SocketAddr>, flags: Flags, out: &mut Vec<u8>) {
    match address {
        Some(address) => hex_or_number(u64::from(address.port()), 4, flags, out),
        None => out.push(b'-'),
    }
}

/// Text, `-` or nothing between quotes where there is none. A line stays one line: control
/// characters are written as `#` and two hexadecimal digits.
fn text(value: Option<&[u8]>, flags: Flags, out: &mut Vec<u8>) {
    let quoted = flags.contains(Flags::QUOTE);
    if quoted {
        out.push(b'"');
    }
    match value {
        Some(value) => {
            for &byte in value {
                if byte < b' ' || byte == 0x7f {
                    let _ = write!(out, "#{byte:02X}");
                    continue;
                }
                if flags.contains(Flags::ESCAPE) && matches!(byte, b'"' | b'\\' | b']') {
                    out.push(b'\\');
                }
                out.push(byte);
            }
        }
        None if !quoted => out.push(b'-'),
        None => {}
    }
    if quoted {
        out.push(b'"');
    }
}

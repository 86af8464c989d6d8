//! Version 1.

use super::{Case, header, refused};
use crate::handshake::proxy_protocol::{Addresses, Command, Field, Refusal, Version};

pub(super) fn accepted() -> Vec<Case> {
    let line = |name, line: &str, addresses| {
        header(
            name,
            line.into(),
            Version::V1,
            Command::Proxy,
            addresses,
            b"",
        )
    };
    let inet = |source: &str, destination: &str| Addresses::Inet {
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
    };
    vec![
        line(
            "TCP4",
            "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n",
            inet("192.0.2.1:56324", "198.51.100.2:443"),
        ),
        line(
            "TCP4, shortest",
            "PROXY TCP4 0.0.0.0 1.1.1.1 0 1\r\n",
            inet("0.0.0.0:0", "1.1.1.1:1"),
        ),
        line(
            "TCP4, longest",
            "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
            inet("255.255.255.255:65535", "255.255.255.255:65535"),
        ),
        line(
            "TCP6",
            "PROXY TCP6 2001:db8::1 2001:db8::2 1024 80\r\n",
            inet("[2001:db8::1]:1024", "[2001:db8::2]:80"),
        ),
        line(
            "TCP6, shortest",
            "PROXY TCP6 :: :: 0 0\r\n",
            inet("[::]:0", "[::]:0"),
        ),
        line(
            "TCP6, longest of the specification",
            "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
             ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
            inet(
                "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
                "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
            ),
        ),
        line(
            "TCP6, capital letters and zeroes in front",
            "PROXY TCP6 2001:0DB8:0000::00AB ::1 5 6\r\n",
            inet("[2001:db8::ab]:5", "[::1]:6"),
        ),
        line(
            "TCP6, mapped IPv4",
            "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 7 8\r\n",
            inet("[::ffff:192.0.2.1]:7", "[2001:db8::2]:8"),
        ),
        line("UNKNOWN", "PROXY UNKNOWN\r\n", Addresses::Unknown),
        line(
            "UNKNOWN with addresses",
            "PROXY UNKNOWN 192.0.2.1 198.51.100.2 56324 443\r\n",
            Addresses::Unknown,
        ),
        line(
            "UNKNOWN with the longest addresses",
            "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
             ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
            Addresses::Unknown,
        ),
        line(
            "UNKNOWN with nonsense",
            "PROXY UNKNOWN  \0any thing \t\r\n",
            Addresses::Unknown,
        ),
    ]
}

pub(super) fn malformed() -> Vec<Case> {
    use Field::{DestinationAddress, DestinationPort, Protocol, SourceAddress, SourcePort};
    let line = |name, proof: &str, rest: &str, refusal| refused(name, proof, rest, refusal);
    let no_header = |at, byte| Refusal::NotAHeader { at, byte };
    vec![
        line("HTTP", "G", "ET / HTTP/1.0\r\n\r\n", no_header(0, b'G')),
        line("HTTP with P", "PO", "ST / HTTP/1.0\r\n", no_header(1, b'O')),
        line("TLS", "\x16", "\x03\x01\x02\0\x01", no_header(0, 0x16)),
        line(
            "space in front",
            " ",
            "PROXY UNKNOWN\r\n",
            no_header(0, b' '),
        ),
        line(
            "LF in front",
            "\n",
            "PROXY UNKNOWN\r\n",
            no_header(0, b'\n'),
        ),
        line("lower case", "p", "roxy UNKNOWN\r\n", no_header(0, b'p')),
        line("mixed case", "Pr", "oxy UNKNOWN\r\n", no_header(1, b'r')),
        line(
            "tab for space",
            "PROXY\t",
            "UNKNOWN\r\n",
            no_header(5, b'\t'),
        ),
        line("nothing", "PROXY\r", "\n", no_header(5, b'\r')),
        line(
            "nothing after the space",
            "PROXY \r",
            "\n",
            Refusal::Missing(Protocol),
        ),
        line(
            "two spaces before the protocol",
            "PROXY  ",
            "TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
            Refusal::Spaces(Protocol),
        ),
        line(
            "protocol in lower case",
            "PROXY t",
            "cp4 1.1.1.1 2.2.2.2 1 2\r\n",
            Refusal::Protocol,
        ),
        line(
            "UDP",
            "PROXY UD",
            "P4 1.1.1.1 2.2.2.2 1 2\r\n",
            Refusal::Protocol,
        ),
        line("TCP5", "PROXY TCP5", " ::1 ::1 1 2\r\n", Refusal::Protocol),
        line(
            "TCP",
            "PROXY TCP ",
            "1.1.1.1 2.2.2.2 1 2\r\n",
            Refusal::Protocol,
        ),
        line(
            "TCP44",
            "PROXY TCP44",
            " 1.1.1.1 2.2.2.2 1 2\r\n",
            Refusal::Protocol,
        ),
        line(
            "TCP4 and tab",
            "PROXY TCP4\t",
            "1.1.1.1\r\n",
            Refusal::Protocol,
        ),
        line("UNKNOWNS", "PROXY UNKNOWNS", "\r\n", Refusal::Protocol),
        line(
            "UNKNOWN and dot",
            "PROXY UNKNOWN.",
            "\r\n",
            Refusal::Protocol,
        ),
        line(
            "TCP4 alone",
            "PROXY TCP4\r",
            "\n",
            Refusal::Missing(SourceAddress),
        ),
        line(
            "TCP4 and a space",
            "PROXY TCP4 \r",
            "\n",
            Refusal::Missing(SourceAddress),
        ),
        line(
            "one address",
            "PROXY TCP4 1.1.1.1\r",
            "\n",
            Refusal::Missing(DestinationAddress),
        ),
        line(
            "no ports",
            "PROXY TCP4 1.1.1.1 2.2.2.2\r",
            "\n",
            Refusal::Missing(SourcePort),
        ),
        line(
            "one port",
            "PROXY TCP6 ::1 ::1 80\r",
            "\n",
            Refusal::Missing(DestinationPort),
        ),
        line(
            "empty last port",
            "PROXY TCP4 1.1.1.1 2.2.2.2 1 \r",
            "\n",
            Refusal::Missing(DestinationPort),
        ),
        line(
            "two spaces before the source address",
            "PROXY TCP4  ",
            "1.1.1.1 2.2.2.2 1 2\r\n",
            Refusal::Spaces(SourceAddress),
        ),
        line(
            "two spaces before the destination address",
            "PROXY TCP6 ::1  ",
            "::1 1 2\r\n",
            Refusal::Spaces(DestinationAddress),
        ),
        line(
            "two spaces before the source port",
            "PROXY TCP4 1.1.1.1 2.2.2.2  ",
            "1 2\r\n",
            Refusal::Spaces(SourcePort),
        ),
        line(
            "two spaces before the destination port",
            "PROXY TCP4 1.1.1.1 2.2.2.2 1  ",
            "2\r\n",
            Refusal::Spaces(DestinationPort),
        ),
        line(
            "octet over 255",
            "PROXY TCP4 192.0.2.256",
            " 2.2.2.2 1 2\r\n",
            Refusal::OctetRange(SourceAddress),
        ),
        line(
            "octet of four digits",
            "PROXY TCP4 1.1.1.1 1000",
            ".2.2.2 1 2\r\n",
            Refusal::OctetRange(DestinationAddress),
        ),
        line(
            "octet with a leading zero",
            "PROXY TCP4 192.0.02",
            ".1 2.2.2.2 1 2\r\n",
            Refusal::LeadingZero(SourceAddress),
        ),
        line(
            "octet of two zeroes",
            "PROXY TCP4 1.1.1.1 00",
            ".2.2.2 1 2\r\n",
            Refusal::LeadingZero(DestinationAddress),
        ),
        line(
            "three octets",
            "PROXY TCP4 1.1.1 ",
            "2.2.2.2 1 2\r\n",
            Refusal::Address(SourceAddress),
        ),
        line(
            "five octets",
            "PROXY TCP4 1.1.1.1.",
            "1 2.2.2.2 1 2\r\n",
            Refusal::Address(SourceAddress),
        ),
        line(
            "empty octet",
            "PROXY TCP4 1..",
            "1.1 2.2.2.2 1 2\r\n",
            Refusal::Address(SourceAddress),
        ),
        line(
            "negative octet",
            "PROXY TCP4 1.1.1.1 -",
            "1.2.2.2 1 2\r\n",
            Refusal::Address(DestinationAddress),
        ),
        line(
            "IPv6 address in TCP4",
            "PROXY TCP4 :",
            ":1 ::1 1 2\r\n",
            Refusal::Address(SourceAddress),
        ),
        line(
            "IPv4 address in TCP6",
            "PROXY TCP6 1.1.1.1 ",
            "2.2.2.2 1 2\r\n",
            Refusal::Address(SourceAddress),
        ),
        line(
            "IPv6 address with two gaps",
            "PROXY TCP6 1::2::3 ",
            "::1 1 2\r\n",
            Refusal::Address(SourceAddress),
        ),
        line(
            "IPv6 address of nine groups",
            "PROXY TCP6 ::1 1:2:3:4:5:6:7:8:9 ",
            "1 2\r\n",
            Refusal::Address(DestinationAddress),
        ),
        line(
            "IPv6 group of five digits",
            "PROXY TCP6 ::12345 ",
            "::1 1 2\r\n",
            Refusal::Address(SourceAddress),
        ),
        line(
            "IPv6 address with a zone",
            "PROXY TCP6 fe80::1%",
            "eth0 ::1 1 2\r\n",
            Refusal::Address(SourceAddress),
        ),
        line(
            "IPv6 address in brackets",
            "PROXY TCP6 [",
            "::1] ::1 1 2\r\n",
            Refusal::Address(SourceAddress),
        ),
        line(
            "endless IPv6 address",
            "PROXY TCP6 0000:0000:0000:0000:0000:0000:0000:0000:0000:0",
            "000 ::1 1 2\r\n",
            Refusal::Address(SourceAddress),
        ),
        line(
            "port over 65535",
            "PROXY TCP4 1.1.1.1 2.2.2.2 65536",
            " 2\r\n",
            Refusal::PortRange(SourcePort),
        ),
        line(
            "port of six digits",
            "PROXY TCP6 ::1 ::1 1 100000",
            "\r\n",
            Refusal::PortRange(DestinationPort),
        ),
        line(
            "port with a leading zero",
            "PROXY TCP4 1.1.1.1 2.2.2.2 08",
            "0 2\r\n",
            Refusal::LeadingZero(SourcePort),
        ),
        line(
            "port of two zeroes",
            "PROXY TCP4 1.1.1.1 2.2.2.2 1 00",
            "\r\n",
            Refusal::LeadingZero(DestinationPort),
        ),
        line(
            "port with a sign",
            "PROXY TCP4 1.1.1.1 2.2.2.2 +",
            "1 2\r\n",
            Refusal::Port(SourcePort),
        ),
        line(
            "port by name",
            "PROXY TCP4 1.1.1.1 2.2.2.2 1 h",
            "ttp\r\n",
            Refusal::Port(DestinationPort),
        ),
        line(
            "letter after the source port",
            "PROXY TCP4 1.1.1.1 2.2.2.2 1x",
            " 2\r\n",
            Refusal::Port(SourcePort),
        ),
        line(
            "NUL after the destination port",
            "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\0",
            "\r\n",
            Refusal::Port(DestinationPort),
        ),
        line(
            "space before the end",
            "PROXY TCP4 1.1.1.1 2.2.2.2 1 2 ",
            "\r\n",
            Refusal::Trailing,
        ),
        line(
            "a seventh word",
            "PROXY TCP6 ::1 ::1 1 2 ",
            "3\r\n",
            Refusal::Trailing,
        ),
        line(
            "LF alone",
            "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n",
            "",
            Refusal::LineEnd,
        ),
        line(
            "CR alone",
            "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\rG",
            "ET /",
            Refusal::LineEnd,
        ),
        line(
            "UNKNOWN and LF alone",
            "PROXY UNKNOWN\n",
            "",
            Refusal::LineEnd,
        ),
        line(
            "UNKNOWN and CR alone",
            "PROXY UNKNOWN\r\r",
            "\n",
            Refusal::LineEnd,
        ),
        line(
            "LF alone after what UNKNOWN says",
            "PROXY UNKNOWN 1.1.1.1\n",
            "\r\n",
            Refusal::LineEnd,
        ),
        refused(
            "line of 108 bytes",
            [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 92]].concat(),
            "\r\n",
            Refusal::LineTooLong,
        ),
        refused(
            "CR at the limit without LF",
            [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 91], b"\rx"].concat(),
            "\n",
            Refusal::LineEnd,
        ),
        refused(
            "endless line",
            [b"PROXY UNKNOWN ".as_slice(), &[b' '; 92]].concat(),
            [b' '; 400],
            Refusal::LineTooLong,
        ),
    ]
}

//! Why a header is refused.

use std::fmt;

/// A field of the text line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Field {
    /// `TCP4`, `TCP6` or `UNKNOWN`.
    Protocol,
    /// The address of who connected.
    SourceAddress,
    /// The address where to.
    DestinationAddress,
    /// The port of who connected.
    SourcePort,
    /// The port where to.
    DestinationPort,
}

impl fmt::Display for Field {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Protocol => "protocol",
            Self::SourceAddress => "source address",
            Self::DestinationAddress => "destination address",
            Self::SourcePort => "source port",
            Self::DestinationPort => "destination port",
        })
    }
}

/// Why the received bytes are no header, whatever may follow. Its words go into the log line of the
/// refused connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// Neither version begins like this.
    #[error("no PROXY header: byte {at} is {byte:#04x}")]
    NotAHeader {
        /// Counted from 0.
        at: usize,
        /// What is there.
        byte: u8,
    },

    /// Version 1: not one of the three words, or not in capital letters.
    #[error("protocol is none of TCP4, TCP6, UNKNOWN")]
    Protocol,
    /// Version 1: more than one space before the field.
    #[error("more than one space before the {0}")]
    Spaces(Field),
    /// Version 1: the line ends before the field.
    #[error("{0} is missing")]
    Missing(Field),
    /// Version 1: not an address of the announced family.
    #[error("{0} is not an address of the announced family")]
    Address(Field),
    /// Version 1: a part of an IPv4 address is over 255.
    #[error("{0} has a part over 255")]
    OctetRange(Field),
    /// Version 1: a decimal number with a zero in front, which might be meant as octal.
    #[error("{0} has a leading zero")]
    LeadingZero(Field),
    /// Version 1: not a number.
    #[error("{0} is not a decimal number")]
    Port(Field),
    /// Version 1: a port over 65535.
    #[error("{0} is over 65535")]
    PortRange(Field),
    /// Version 1: a space after the last field.
    #[error("something follows the destination port")]
    Trailing,
    /// Version 1: CR or LF where only both end the line.
    #[error("line does not end in CR LF")]
    LineEnd,
    /// Version 1: no end of the line where the longest one has it.
    #[error("line is longer than 107 bytes")]
    LineTooLong,

    /// Version 2: another version number behind the signature.
    #[error("version {0} behind the signature of version 2")]
    Version(u8),
    /// Version 2: neither LOCAL nor PROXY.
    #[error("command {0:#x} is neither LOCAL nor PROXY")]
    Command(u8),
    /// Version 2: a pair of address family and transport that is not assigned.
    #[error("address family and transport {0:#04x} are not assigned")]
    Family(u8),
    /// Version 2: longer than any header that is accepted.
    #[error(
        "announces {announced} bytes, more than the {} accepted",
        super::MAX_BLOCK
    )]
    BlockTooLong {
        /// In bytes, after the fixed part.
        announced: usize,
    },
    /// Version 2: too short for the addresses of its family.
    #[error("announces {announced} bytes, its addresses need {needed}")]
    BlockTooShort {
        /// In bytes, after the fixed part.
        announced: usize,
        /// In bytes.
        needed: usize,
    },
    /// Version 2: bytes after the last TLV, too few for another.
    #[error("{left} bytes after the last TLV are none")]
    TlvTruncated {
        /// How many: 1 or 2.
        left: usize,
    },
    /// Version 2: a TLV that does not end within the header.
    #[error("TLV {kind:#04x} of {length} bytes does not end within the header")]
    TlvOverrun {
        /// Its type.
        kind: u8,
        /// The length that it announces, in bytes.
        length: usize,
    },
    /// Version 2: a TLV that is longer than its type may be.
    #[error("TLV {kind:#04x} has {length} bytes, more than the {limit} allowed")]
    TlvTooLong {
        /// Its type.
        kind: u8,
        /// In bytes.
        length: usize,
        /// In bytes.
        limit: usize,
    },
    /// Version 2: the TLV on TLS is too short, or what it contains is malformed.
    #[error("ssl TLV is malformed")]
    Ssl,
    /// Version 2: a checksum that is not 4 bytes long.
    #[error("CRC32C has {length} bytes instead of 4")]
    ChecksumLength {
        /// In bytes.
        length: usize,
    },
    /// Version 2: more than one checksum. What the second is computed over is not defined.
    #[error("more than one CRC32C")]
    ChecksumTwice,
    /// Version 2: the header was changed on its way.
    #[error("CRC32C is {announced:#010x}, that of the header is {computed:#010x}")]
    Checksum {
        /// In the header.
        announced: u32,
        /// That of the header with its checksum zeroed.
        computed: u32,
    },
}

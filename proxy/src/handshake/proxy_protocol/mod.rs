//! The PROXY protocol, versions 1 and 2: reading and writing headers, without I/O.
//!
//! A reader is given all bytes received so far ([`read`]) and says whether more are needed, what
//! the header says and where the data after it starts, or why it is refused. A writer appends a
//! header to a buffer ([`write`]). `docs/proxy-protocol.md` says what is accepted and why.
//!
//! Nothing here uses the rest of the crate: the fuzz target compiles these files by themselves.

mod header;
mod read;
mod refusal;
mod tlv;
mod v1;
mod v2;
mod write;

pub use header::{Addresses, Command, Header, Version};
pub use read::{Progress, read};
pub use refusal::{Field, Refusal};
pub use tlv::{Ssl, Tlvs, kind};
pub use v2::MAX_BLOCK;
pub use write::{Endpoint, Outgoing, SslFacts, write};

#[cfg(test)]
mod tests;

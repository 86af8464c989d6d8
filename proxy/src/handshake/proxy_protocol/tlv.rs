//! The type-length-value part of a version 2 header.

use super::refusal::Refusal;

/// The assigned types.
pub mod kind {
    /// The protocol that TLS negotiated.
    pub const ALPN: u8 = 0x01;
    /// The host name that the client asked for.
    pub const AUTHORITY: u8 = 0x02;
    /// A checksum of the header.
    pub const CRC32C: u8 = 0x03;
    /// Padding.
    pub const NOOP: u8 = 0x04;
    /// An ID of the connection.
    pub const UNIQUE_ID: u8 = 0x05;
    /// Whether and how the client spoke TLS; contains further TLVs.
    pub const SSL: u8 = 0x20;
    /// Within [`SSL`]: the version of TLS.
    pub const SSL_VERSION: u8 = 0x21;
    /// Within [`SSL`]: the common name of the client's certificate.
    pub const SSL_CN: u8 = 0x22;
    /// Within [`SSL`]: the cipher.
    pub const SSL_CIPHER: u8 = 0x23;
    /// Within [`SSL`]: the algorithm that signed the certificate shown to the client.
    pub const SSL_SIG_ALG: u8 = 0x24;
    /// Within [`SSL`]: the algorithm of the key of the certificate shown to the client.
    pub const SSL_KEY_ALG: u8 = 0x25;
    /// The name of the network namespace.
    pub const NETNS: u8 = 0x30;
}

/// [`Ssl::client`]: the client spoke TLS.
pub(super) const CLIENT_SSL: u8 = 0x01;
/// [`Ssl::client`]: it showed a certificate on this connection.
pub(super) const CLIENT_CERT_CONN: u8 = 0x02;
/// [`Ssl::client`]: it showed a certificate at least once in this session.
pub(super) const CLIENT_CERT_SESS: u8 = 0x04;

/// The longest host name of TLS, in bytes.
pub(super) const MAX_AUTHORITY: u16 = 255;
/// The specification's bound, in bytes.
pub(super) const MAX_UNIQUE_ID: u16 = 128;

/// Bytes before a value: type and length.
const PREFIX: usize = 3;
/// Bytes before the TLVs within [`kind::SSL`].
const SSL_PREFIX: usize = 5;

/// One TLV.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry<'a> {
    kind: u8,
    value: &'a [u8],
    /// Where the value is, counted from the first TLV.
    at: usize,
}

/// Walks TLVs; after an error it is at its end.
#[derive(Debug, Clone)]
struct Entries<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Entries<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, Refusal>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = &self.bytes[self.at..];
        if rest.is_empty() {
            return None;
        }
        let &[kind, high, low, ref after @ ..] = rest else {
            self.at = self.bytes.len();
            return Some(Err(Refusal::TlvTruncated { left: rest.len() }));
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let Some(value) = after.get(..length) else {
            self.at = self.bytes.len();
            return Some(Err(Refusal::TlvOverrun { kind, length }));
        };
        let at = self.at + PREFIX;
        self.at = at + length;
        Some(Ok(Entry { kind, value, at }))
    }
}

/// The TLVs of a header as they came, known to be well-formed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash)]
pub struct Tlvs {
    bytes: Box<[u8]>,
}

impl Tlvs {
    /// Takes the TLVs of the header `whole`, which begin at `start` and reach to its end.
    ///
    /// # Errors
    ///
    /// If they are malformed, or if the checksum among them is not that of the header.
    pub(super) fn of_header(whole: &[u8], start: usize) -> Result<Self, Refusal> {
        let bytes = &whole[start..];
        let mut checksum = None;
        for entry in Entries::new(bytes) {
            let entry = entry?;
            let length = entry.value.len();
            match entry.kind {
                kind::CRC32C => {
                    let announced = <[u8; 4]>::try_from(entry.value)
                        .map_err(|_| Refusal::ChecksumLength { length })?;
                    if checksum.is_some() {
                        return Err(Refusal::ChecksumTwice);
                    }
                    checksum = Some((start + entry.at, u32::from_be_bytes(announced)));
                }
                kind::AUTHORITY => bounded(entry, MAX_AUTHORITY)?,
                kind::UNIQUE_ID => bounded(entry, MAX_UNIQUE_ID)?,
                kind::SSL => {
                    let inner = entry.value.get(SSL_PREFIX..).ok_or(Refusal::Ssl)?;
                    if Entries::new(inner).any(|entry| entry.is_err()) {
                        return Err(Refusal::Ssl);
                    }
                }
                _ => {}
            }
        }
        if let Some((at, announced)) = checksum {
            let computed = checksum_with_zeroes_at(whole, at);
            if announced != computed {
                return Err(Refusal::Checksum {
                    announced,
                    computed,
                });
            }
        }
        Ok(Self {
            bytes: bytes.into(),
        })
    }

    /// Types and values, in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &[u8])> {
        Entries::new(&self.bytes)
            .flatten()
            .map(|entry| (entry.kind, entry.value))
    }

    /// The value of the first TLV of this type.
    #[must_use]
    pub fn get(&self, kind: u8) -> Option<&[u8]> {
        first(&self.bytes, kind)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The host name that the client asked for. It should be UTF-8, and need not be.
    #[must_use]
    pub fn authority(&self) -> Option<&[u8]> {
        self.get(kind::AUTHORITY)
    }

    /// The protocol that TLS negotiated.
    #[must_use]
    pub fn alpn(&self) -> Option<&[u8]> {
        self.get(kind::ALPN)
    }

    /// An ID of the connection, of at most 128 bytes.
    #[must_use]
    pub fn unique_id(&self) -> Option<&[u8]> {
        self.get(kind::UNIQUE_ID)
    }

    /// Whether and how the client spoke TLS.
    #[must_use]
    pub fn ssl(&self) -> Option<Ssl<'_>> {
        let &[client, a, b, c, d, ref inner @ ..] = self.get(kind::SSL)? else {
            return None;
        };
        Some(Ssl {
            client,
            verify: u32::from_be_bytes([a, b, c, d]),
            inner,
        })
    }
}

/// What a header says of the client's TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ssl<'a> {
    /// The flags as they came.
    pub client: u8,
    /// 0 if the client showed a certificate that was found valid.
    pub verify: u32,
    inner: &'a [u8],
}

impl<'a> Ssl<'a> {
    /// Whether the client spoke TLS.
    #[must_use]
    pub fn spoken(&self) -> bool {
        self.client & CLIENT_SSL != 0
    }

    /// Whether it showed a certificate on this connection.
    #[must_use]
    pub fn certificate_in_connection(&self) -> bool {
        self.client & CLIENT_CERT_CONN != 0
    }

    /// Whether it showed a certificate at least once in the session that the connection resumed.
    #[must_use]
    pub fn certificate_in_session(&self) -> bool {
        self.client & CLIENT_CERT_SESS != 0
    }

    /// The version of TLS, such as `TLSv1.3`.
    #[must_use]
    pub fn version(&self) -> Option<&'a [u8]> {
        self.get(kind::SSL_VERSION)
    }

    /// The common name of the client's certificate.
    #[must_use]
    pub fn cn(&self) -> Option<&'a [u8]> {
        self.get(kind::SSL_CN)
    }

    /// The cipher, by OpenSSL's name.
    #[must_use]
    pub fn cipher(&self) -> Option<&'a [u8]> {
        self.get(kind::SSL_CIPHER)
    }

    /// The algorithm that signed the certificate shown to the client, such as `RSA-SHA256`.
    #[must_use]
    pub fn sig_alg(&self) -> Option<&'a [u8]> {
        self.get(kind::SSL_SIG_ALG)
    }

    /// The algorithm of that certificate's key, such as `RSA2048`.
    #[must_use]
    pub fn key_alg(&self) -> Option<&'a [u8]> {
        self.get(kind::SSL_KEY_ALG)
    }

    /// The value of the first inner TLV of this type.
    #[must_use]
    pub fn get(&self, kind: u8) -> Option<&'a [u8]> {
        first(self.inner, kind)
    }
}

fn first(bytes: &[u8], kind: u8) -> Option<&[u8]> {
    Entries::new(bytes)
        .flatten()
        .find(|entry| entry.kind == kind)
        .map(|entry| entry.value)
}

fn bounded(entry: Entry<'_>, limit: u16) -> Result<(), Refusal> {
    let length = entry.value.len();
    let limit = usize::from(limit);
    if length > limit {
        return Err(Refusal::TlvTooLong {
            kind: entry.kind,
            length,
            limit,
        });
    }
    Ok(())
}

/// The CRC32C of a header, taken as if the 4 bytes at `at` were zero.
pub(super) fn checksum_with_zeroes_at(header: &[u8], at: usize) -> u32 {
    let checksum = crc32c::crc32c(&header[..at]);
    let checksum = crc32c::crc32c_append(checksum, &[0; 4]);
    crc32c::crc32c_append(checksum, &header[at + 4..])
}

/// Appends a TLV, unless its value is longer than `limit` bytes: half a value would be a wrong one.
pub(super) fn append(out: &mut Vec<u8>, kind: u8, value: &[u8], limit: u16) {
    let Ok(length) = u16::try_from(value.len()) else {
        return;
    };
    if length <= limit {
        out.push(kind);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(value);
    }
}

//! What `bind` and `server` lines say of TLS and of the PROXY protocol.

use std::path::PathBuf;
use std::sync::Arc;

use super::Position;

/// Sessions that HAProxy's cache keeps by default.
pub const DEFAULT_SESSION_CACHE: usize = 20_000;

/// A version of TLS that this build speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsVersion {
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}

/// What both sides of TLS have in common.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsParameters {
    /// `ssl-min-ver`; `None`: the lowest there is.
    pub min: Option<TlsVersion>,
    /// `ssl-max-ver`; `None`: the highest there is.
    pub max: Option<TlsVersion>,
    /// `ciphers`: cipher suites of TLS 1.2 by OpenSSL's names, most wanted first, only those that
    /// there are; empty: the library's choice.
    pub ciphers: Vec<String>,
    /// `ciphersuites`: those of TLS 1.3 by their standard names.
    pub ciphersuites: Vec<String>,
    /// `curves`: key exchange groups, most wanted first: `X25519`, `P-256`, `P-384`,
    /// `X25519MLKEM768`, `SecP256r1MLKEM768`; empty: the library's choice.
    pub curves: Vec<String>,
    /// `alpn`: protocols, most wanted first; empty: no ALPN.
    pub alpn: Vec<Vec<u8>>,
}

/// Where certificates come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateSource {
    /// `crt`: a PEM bundle (chain and key; the key may be in `<path>.key`), or a directory of them.
    Path(PathBuf, Position),
    /// `crt-list`: a file that lists bundles, each with options and SNI filters.
    List(PathBuf, Position),
}

/// Whether a client must show a certificate: `verify` of a `bind` line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum ClientVerify {
    /// It is not asked for one.
    #[default]
    None,
    /// It is asked; one that it shows must be valid.
    Optional,
    /// It must show a valid one.
    Required,
}

/// TLS of one `bind` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindTls {
    /// `crt` and `crt-list`, in order; the first certificate is the default one. Empty only with
    /// `strict_sni`: then every handshake fails.
    pub certificates: Vec<CertificateSource>,
    /// `ca-verify-file`, else `ca-file`: who may have signed clients' certificates; set where
    /// `verify` is not [`ClientVerify::None`].
    pub ca_file: Option<PathBuf>,
    /// `verify`.
    pub verify: ClientVerify,
    /// `crt-base` and `ca-base`: where the files are that a `crt-list` file names by relative
    /// paths. All other paths are complete.
    pub crt_base: Option<PathBuf>,
    /// See `crt_base`.
    pub ca_base: Option<PathBuf>,
    /// `strict-sni`: no certificate for the client's name, no handshake.
    pub strict_sni: bool,
    /// False with `no-tls-tickets`.
    pub tickets: bool,
    /// `tls-ticket-keys`: a file of base64 keys of 48 or 80 bytes, one per line, to resume sessions
    /// of other processes.
    pub ticket_keys: Option<PathBuf>,
    /// `prefer-client-ciphers`: the client's order of cipher suites counts, not ours.
    pub prefer_client_ciphers: bool,
    /// The rest.
    pub parameters: TlsParameters,
}

/// Authorities that may have signed a server's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authorities {
    /// A PEM file.
    File(PathBuf),
    /// `@system-ca`: the system's.
    System,
}

/// `sni` of a `server` line: which name to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SniExpression {
    /// `str(name)`.
    Literal(Arc<str>),
    /// `ssl_fc_sni`: the name that the client sent in its own handshake.
    ClientSni,
    /// `fc_pp_authority`: the name in the client's PROXY header.
    ProxyAuthority,
    /// Of an agent: the name that its client asked it to send.
    Asked,
}

/// TLS of one `server` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// `verify required` (the default) or `none`.
    pub verify: bool,
    /// `ca-file`; needed where `verify` is set.
    pub ca_file: Option<Authorities>,
    /// `verifyhost`: the name that the certificate must have.
    pub verify_host: Option<Arc<str>>,
    /// `sni`.
    pub sni: Option<SniExpression>,
    /// `crt`: our own certificate and key.
    pub certificate: Option<PathBuf>,
    /// False with `no-ssl-reuse`: every handshake is a full one.
    pub reuse: bool,
    /// Where the `server` line stands.
    pub position: Position,
    /// The rest.
    pub parameters: TlsParameters,
}

/// Which header a `server` line asks to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProxyVersion {
    /// `send-proxy`: the text line.
    V1,
    /// `send-proxy-v2` and its kin: binary.
    V2,
}

bitflags::bitflags! {
    /// What a version 2 header says beyond addresses: `send-proxy-v2-ssl`, `-cn`,
    /// `proxy-v2-options`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
    pub struct ProxyOptions: u16 {
        /// Whether and how the client spoke TLS.
        const SSL = 0x01;
        /// The common name of its certificate.
        const CERT_CN = 0x02;
        /// The cipher.
        const SSL_CIPHER = 0x04;
        /// The signature algorithm of our certificate.
        const CERT_SIG = 0x08;
        /// The key algorithm of our certificate.
        const CERT_KEY = 0x10;
        /// The name that the client asked for.
        const AUTHORITY = 0x20;
        /// A checksum of the header.
        const CRC32C = 0x40;
        /// The stream's unique ID.
        const UNIQUE_ID = 0x80;
    }
}

/// A header to send to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SendProxy {
    /// Which version.
    pub version: ProxyVersion,
    /// What it says besides.
    pub options: ProxyOptions,
}

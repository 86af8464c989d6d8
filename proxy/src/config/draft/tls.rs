//! What lines say of TLS and of PROXY headers, before `global` completes it.

use std::path::PathBuf;
use std::sync::Arc;

use super::super::lexer::Word;
use super::super::model::tls::{
    Authorities, CertificateSource, ClientVerify, ProxyOptions, ProxyVersion, SendProxy,
    SniExpression,
};
use super::super::tls::versions::Versions;

/// Words that `bind` and `server` lines share. An empty list is one that was not written.
#[derive(Debug, Clone, Default)]
pub(crate) struct TlsWords {
    pub(crate) versions: Versions,
    pub(crate) ciphers: Vec<String>,
    pub(crate) ciphersuites: Vec<String>,
    pub(crate) curves: Vec<String>,
    pub(crate) alpn: Vec<Vec<u8>>,
    pub(crate) no_tickets: bool,
}

/// What `global` presets for the lines below it.
#[derive(Debug, Clone, Default)]
pub(crate) struct TlsDefaults {
    /// `crt-base`.
    pub(crate) crt_base: Option<PathBuf>,
    /// `ca-base`.
    pub(crate) ca_base: Option<PathBuf>,
    pub(crate) bind: TlsWords,
    /// `prefer-client-ciphers` in `ssl-default-bind-options`.
    pub(crate) prefer_client_ciphers: bool,
    pub(crate) server: TlsWords,
    /// `ssl-server-verify none`.
    pub(crate) trust_servers: bool,
}

/// The TLS words of one `bind` line.
#[derive(Debug, Default)]
pub(crate) struct BindTlsWords {
    pub(crate) ssl: bool,
    /// The first word that needs `ssl`.
    pub(crate) first: Option<Word>,
    pub(crate) certificates: Vec<CertificateSource>,
    pub(crate) ca_file: Option<(Word, PathBuf)>,
    pub(crate) ca_verify_file: Option<(Word, PathBuf)>,
    pub(crate) verify: ClientVerify,
    pub(crate) strict_sni: bool,
    pub(crate) ticket_keys: Option<PathBuf>,
    pub(crate) prefer_client_ciphers: bool,
    /// `ecdhe`, which counts where neither the line nor `global` has a list of curves.
    pub(crate) ecdhe: Vec<String>,
    pub(crate) common: TlsWords,
}

/// The TLS words of a `server` line, or what its `default-server` lines preset.
#[derive(Debug, Clone)]
pub(crate) struct ServerTlsWords {
    pub(crate) ssl: bool,
    /// `verify`; `None`: as `ssl-server-verify` says.
    pub(crate) verify: Option<bool>,
    pub(crate) verify_host: Option<Arc<str>>,
    pub(crate) ca_file: Option<Authorities>,
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) sni: Option<SniExpression>,
    pub(crate) reuse: bool,
    pub(crate) common: TlsWords,
}

impl Default for ServerTlsWords {
    fn default() -> Self {
        Self {
            ssl: false,
            verify: None,
            verify_host: None,
            ca_file: None,
            certificate: None,
            sni: None,
            reuse: true,
            common: TlsWords::default(),
        }
    }
}

/// `send-proxy` and its kin: each word sets or clears some of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct SendProxyWords {
    pub(crate) v1: bool,
    pub(crate) v2: bool,
    pub(crate) options: ProxyOptions,
}

impl SendProxyWords {
    /// The header to send. As in HAProxy, version 2 wins over 1, and options left alone send 1.
    pub(crate) fn header(self) -> Option<SendProxy> {
        let version = match self {
            Self { v2: true, .. } => ProxyVersion::V2,
            Self { v1: true, .. } => ProxyVersion::V1,
            _ if self.options.is_empty() => return None,
            _ => ProxyVersion::V1,
        };
        let options = match version {
            ProxyVersion::V1 => ProxyOptions::empty(),
            ProxyVersion::V2 => self.options,
        };
        Some(SendProxy { version, options })
    }

    /// Whether the options are what makes it send a header that has no room for them.
    pub(crate) fn lacks_version(self) -> bool {
        !self.v1 && !self.v2 && !self.options.is_empty()
    }
}

//! What a PROXY header tells a server of its client.

use crate::config::model::tls::{ProxyOptions, ProxyVersion, SendProxy};
use crate::conn::data::ssl::SslSock;
use crate::handshake::incoming::Incoming;
use crate::handshake::proxy_protocol::{Endpoint as End, Outgoing, SslFacts, Version, write};
use crate::observe::record::{Endpoint, FlowRecord};

/// The header for this client, as a `server` line wants it.
#[must_use]
pub fn header(wanted: SendProxy, client: &Incoming, record: &FlowRecord) -> Vec<u8> {
    let options = wanted.options;
    let end = |address| match address {
        Some(address) => End::Inet(address),
        None => End::Other,
    };
    let source = match client.session.source {
        Endpoint::Inet(address) => Some(address),
        Endpoint::Unix => None,
    };
    let ssl = client.connection.ssl();
    let facts = ssl.and_then(SslSock::facts);
    let unique = options
        .contains(ProxyOptions::UNIQUE_ID)
        .then(|| record.unique_id());
    let mut outgoing = Outgoing::proxied(end(source), end(client.local_address()));
    if options.contains(ProxyOptions::SSL) {
        outgoing.ssl = facts.as_ref().map(|facts| SslFacts {
            client_cert: facts.client_certificate && !facts.resumed,
            client_cert_in_session: facts.client_certificate,
            verify: facts.verify_result,
            version: Some(facts.version),
            cn: facts
                .client_name
                .as_deref()
                .filter(|_| options.contains(ProxyOptions::CERT_CN)),
            cipher: Some(facts.cipher).filter(|_| options.contains(ProxyOptions::SSL_CIPHER)),
            sig_alg: facts
                .signature
                .filter(|_| options.contains(ProxyOptions::CERT_SIG)),
            key_alg: facts
                .key
                .as_deref()
                .filter(|_| options.contains(ProxyOptions::CERT_KEY)),
        });
    }
    let passed_on = client.proxy.as_ref().and_then(|header| header.tlvs.alpn());
    outgoing.alpn = ssl
        .and_then(SslSock::common)
        .and_then(|session| session.alpn_protocol())
        .or(passed_on);
    if options.contains(ProxyOptions::AUTHORITY) {
        outgoing.authority = ssl.and_then(SslSock::server_name).map(str::as_bytes);
    }
    outgoing.unique_id = unique.as_deref().map(str::as_bytes);
    outgoing.crc32c = options.contains(ProxyOptions::CRC32C);
    let version = match wanted.version {
        ProxyVersion::V1 => Version::V1,
        ProxyVersion::V2 => Version::V2,
    };
    let mut bytes = Vec::new();
    write(version, &outgoing, &mut bytes);
    bytes
}

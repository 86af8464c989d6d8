//! The connecting side: how a server is spoken to in TLS, and by which name.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::client::danger::ServerCertVerifier;
use rustls::sign::SingleCertAndKey;
use rustls_pki_types::{DnsName, ServerName};

use super::loader::Loader;
use super::pem::Certificate;
use super::tickets::Scope;
use super::verify::{NoVerification, Roots, ServerVerifier};
use super::versions;
use crate::config::model::tls::{ServerTls, SniExpression};

/// Sessions kept per server. The library counts eight for each name that is sent, so this is for
/// 128 names, which matters where clients' own names are passed on.
const CACHED_SESSIONS: usize = 1024;

/// A name that no certificate has and no host answers to.
const UNUSABLE_NAME: &str = "unusable.invalid";

/// What is known of the client, for `sni` expressions.
#[derive(Debug, Clone, Copy, Default)]
pub struct ClientFacts<'a> {
    /// The name that it sent in its own handshake.
    pub sni: Option<&'a str>,
    /// The name in its PROXY header.
    pub authority: Option<&'a str>,
    /// The name that it asked an agent to send.
    pub asked: Option<&'a str>,
}

/// TLS of one `server` line, as handshakes use it.
#[derive(Debug)]
pub struct ServerContext {
    settings: Arc<ServerTls>,
    literal: Option<ServerName<'static>>,
    state: ArcSwap<ServerState>,
}

/// What is loaded for a `server` line.
#[derive(Debug)]
pub struct ServerState {
    config: Arc<ClientConfig>,
    /// Of the files' contents.
    fingerprint: Scope,
}

impl ServerContext {
    /// Reads what `settings` name. `None` after a fault, which `loader` then knows.
    pub fn load(settings: &Arc<ServerTls>, loader: &mut Loader) -> Option<Self> {
        let literal = literal(settings, loader);
        let state = ServerState::load(settings, loader)?;
        Some(Self {
            settings: Arc::clone(settings),
            literal: literal.ok()?,
            state: ArcSwap::from_pointee(state),
        })
    }

    /// Reads everything again, and changes nothing yet.
    pub fn prepare(&self, loader: &mut Loader) -> Option<ServerState> {
        ServerState::load(&self.settings, loader)
    }

    /// Puts what was prepared into use, for handshakes that start from now on. Where the files say
    /// what they said before, everything stays, and with it the sessions that can be resumed.
    pub fn install(&self, state: ServerState) {
        if self.state.load().fingerprint != state.fingerprint {
            self.state.store(Arc::new(state));
        }
    }

    /// The configuration of a handshake that offers `alpn`; `None`: what the line says.
    pub fn config(&self, alpn: Option<&[Vec<u8>]>) -> Arc<ClientConfig> {
        let state = self.state.load();
        match alpn {
            Some(alpn) if alpn != state.config.alpn_protocols => {
                let mut config = ClientConfig::clone(&state.config);
                config.alpn_protocols = alpn.to_vec();
                Arc::new(config)
            }
            _ => Arc::clone(&state.config),
        }
    }

    /// The name to give to the library for a connection to `address`. A DNS name is sent to the
    /// server and, with `verify required`, must be in its certificate. An IP address is not sent,
    /// and says that there is no name: only the server's sessions are kept under it.
    pub fn name(&self, facts: &ClientFacts<'_>, address: Option<IpAddr>) -> ServerName<'static> {
        let dynamic = match &self.settings.sni {
            None => None,
            Some(SniExpression::Literal(_)) => {
                return self.nameless_or(self.literal.clone(), address);
            }
            Some(SniExpression::ClientSni) => facts.sni,
            Some(SniExpression::ProxyAuthority) => facts.authority,
            Some(SniExpression::Asked) => facts.asked,
        };
        let name = dynamic.filter(|name| !name.is_empty()).and_then(|name| {
            match DnsName::try_from(name) {
                Ok(name) => Some(ServerName::DnsName(name.to_owned())),
                // It cannot be sent. That a client says nonsense must not spare the server's
                // certificate the check of its name, so it is checked for one that it cannot have.
                Err(_) if self.settings.verify => DnsName::try_from(UNUSABLE_NAME)
                    .ok()
                    .map(ServerName::DnsName),
                Err(_) => None,
            }
        });
        self.nameless_or(name, address)
    }

    fn nameless_or(
        &self,
        name: Option<ServerName<'static>>,
        address: Option<IpAddr>,
    ) -> ServerName<'static> {
        name.unwrap_or_else(|| {
            let address = address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
            ServerName::from(address)
        })
    }
}

/// The name of `sni str(...)`.
fn literal(settings: &ServerTls, loader: &mut Loader) -> Result<Option<ServerName<'static>>, ()> {
    let Some(SniExpression::Literal(name)) = &settings.sni else {
        return Ok(None);
    };
    match DnsName::try_from(&**name) {
        Ok(name) => Ok(Some(ServerName::DnsName(name.to_owned()))),
        Err(_) => {
            let message = format!("sni '{name}' is not a host name");
            loader.error(&settings.position, message);
            Err(())
        }
    }
}

impl ServerState {
    fn load(settings: &ServerTls, loader: &mut Loader) -> Option<Self> {
        let position = &settings.position;
        let roots = settings
            .ca_file
            .as_ref()
            .map(|authorities| loader.authorities(authorities, position, ""));
        let certificate = settings
            .certificate
            .as_ref()
            .map(|path| loader.certificate(path, position, ""));
        let choices = versions::choices(&settings.parameters)
            .map_err(|reason| loader.error(position, reason));
        let host = verify_host(settings, loader);
        // Only now, so that one run tells all faults of the line.
        let roots = given(roots)?;
        let certificate = given(certificate)?;
        let (choices, host) = (choices.ok()?, host.ok()?);

        let provider = &choices.provider;
        let verifier: Arc<dyn ServerCertVerifier> = match (&roots, settings.verify) {
            (Some(roots), true) => Arc::new(ServerVerifier::new(Arc::clone(roots), host, provider)),
            (None, true) => {
                loader.error(position, "verify required needs a ca-file");
                return None;
            }
            (_, false) => {
                if roots.is_some() {
                    loader.warn(position, "ca-file has no effect with verify none");
                }
                Arc::new(NoVerification::new(provider))
            }
        };
        let builder = ClientConfig::builder_with_provider(Arc::clone(provider))
            .with_protocol_versions(&choices.versions)
            .map_err(|error| loader.error(position, error.to_string()))
            .ok()?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &certificate {
            Some(certificate) => builder.with_client_cert_resolver(Arc::new(
                SingleCertAndKey::from(Arc::clone(&certificate.key)),
            )),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols.clone_from(&settings.parameters.alpn);
        config.resumption = if settings.reuse {
            Resumption::in_memory_sessions(CACHED_SESSIONS)
        } else {
            Resumption::disabled()
        };
        Some(Self {
            config: Arc::new(config),
            fingerprint: fingerprint(roots.as_deref(), certificate.as_deref()),
        })
    }
}

/// `None` where something was named and could not be had.
fn given<T>(read: Option<Option<T>>) -> Option<Option<T>> {
    match read {
        Some(None) => None,
        Some(read) => Some(read),
        None => Some(None),
    }
}

fn verify_host(
    settings: &ServerTls,
    loader: &mut Loader,
) -> Result<Option<ServerName<'static>>, ()> {
    let Some(host) = &settings.verify_host else {
        return Ok(None);
    };
    if !settings.verify {
        let message = "verifyhost has no effect with verify none";
        loader.warn(&settings.position, message);
    }
    match ServerName::try_from(&**host) {
        Ok(name) => Ok(Some(name.to_owned())),
        Err(_) => {
            let message = format!("verifyhost '{host}' is not a host name");
            loader.error(&settings.position, message);
            Err(())
        }
    }
}

fn fingerprint(roots: Option<&Roots>, certificate: Option<&Certificate>) -> Scope {
    let authorities = roots.map_or(&[][..], Roots::certificates);
    let chain = certificate.map_or(&[][..], |certificate| &certificate.key.cert);
    let marks: [&[u8]; 2] = [b"authorities", b"chain"];
    Scope::of(
        marks[..1]
            .iter()
            .copied()
            .chain(authorities.iter().map(AsRef::as_ref))
            .chain(marks[1..].iter().copied())
            .chain(chain.iter().map(AsRef::as_ref)),
    )
}

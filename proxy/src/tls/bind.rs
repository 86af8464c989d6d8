//! The accepting side: which certificate and which settings a client gets.
//!
//! A `bind` line has *entries* (a certificate and the names it answers to) in *groups* that share
//! their settings: lines of a crt-list may have options of their own. A group is one configuration
//! of the library, whose resolver chooses among the group's entries.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SupportedCipherSuite};

use super::crt_list::{self, Options};
use super::loader::Loader;
use super::pem::Certificate;
use super::sni::{Filters, Index, Pattern};
use super::tickets::{Scope, Sessions};
use super::verify::{self, Roots};
use super::versions;
use crate::config::model::Position;
use crate::config::model::tls::{
    Authorities, BindTls, CertificateSource, ClientVerify, TlsParameters,
};

/// TLS of one `bind` line, as handshakes use it.
#[derive(Debug)]
pub struct BindContext {
    settings: Arc<BindTls>,
    position: Position,
    state: ArcSwap<BindState>,
}

/// What one client gets.
#[derive(Debug, Clone)]
pub struct Choice {
    /// The configuration of its handshake.
    pub config: Arc<ServerConfig>,
    /// The certificate that the handshake will show.
    pub certificate: Arc<Certificate>,
}

impl BindContext {
    /// Reads what `settings` name. `None` after a fault, which `loader` then knows.
    pub fn load(
        settings: &Arc<BindTls>,
        position: &Position,
        loader: &mut Loader,
        sessions: &Sessions,
    ) -> Option<Self> {
        let state = BindState::load(settings, position, loader, sessions)?;
        Some(Self {
            settings: Arc::clone(settings),
            position: position.clone(),
            state: ArcSwap::from_pointee(state),
        })
    }

    /// Reads everything again, and changes nothing yet.
    pub fn prepare(&self, loader: &mut Loader, sessions: &Sessions) -> Option<BindState> {
        BindState::load(&self.settings, &self.position, loader, sessions)
    }

    /// Puts what was prepared into use, for handshakes that start from now on.
    pub fn install(&self, state: BindState) {
        self.state.store(Arc::new(state));
    }

    /// The configuration for a client that asks for `server_name`. `None` under `strict-sni` where
    /// no certificate has the name: the client is to be sent unrecognized_name.
    pub fn choose(&self, server_name: Option<&str>) -> Option<Arc<ServerConfig>> {
        let state = self.state.load();
        let entry = state.entries.pick(server_name, |_| true)?;
        let group = state.entries.list[entry].group;
        Some(Arc::clone(&state.groups[group].config))
    }

    /// Like [`BindContext::choose`], by everything that the client said: the certificate is one
    /// whose signature it takes, and where it offers only protocols (ALPN) that we do not have the
    /// handshake goes on without one, as HAProxy's does.
    pub fn choose_for(&self, hello: &ClientHello<'_>) -> Option<Choice> {
        let state = self.state.load();
        let entry = state.entries.pick(hello.server_name(), |entry| {
            let suites = &state.groups[entry.group]
                .config
                .crypto_provider()
                .cipher_suites;
            entry.suits(hello, suites)
        })?;
        let entry = &state.entries.list[entry];
        Some(Choice {
            config: Arc::clone(state.groups[entry.group].config_for(hello)),
            certificate: Arc::clone(&entry.certificate),
        })
    }
}

/// What is loaded for a `bind` line.
#[derive(Debug)]
pub struct BindState {
    entries: Arc<Entries>,
    groups: Vec<Group>,
}

/// Entries that share their settings.
#[derive(Debug)]
struct Group {
    config: Arc<ServerConfig>,
    // The library refuses clients whose protocols we do not have, so for these there is another.
    without_alpn: Arc<ServerConfig>,
}

impl Group {
    fn config_for(&self, hello: &ClientHello<'_>) -> &Arc<ServerConfig> {
        let ours = &self.config.alpn_protocols;
        let foreign = hello.alpn().is_some_and(|mut offered| {
            !ours.is_empty() && !offered.any(|protocol| ours.iter().any(|our| our == protocol))
        });
        if foreign {
            &self.without_alpn
        } else {
            &self.config
        }
    }
}

/// One certificate of a `bind` line.
#[derive(Debug)]
struct Entry {
    certificate: Arc<Certificate>,
    group: usize,
}

impl Entry {
    /// Whether a client that said `hello` can check its signature, with one of `ours`.
    fn suits(&self, hello: &ClientHello<'_>, ours: &[SupportedCipherSuite]) -> bool {
        let algorithm = self.certificate.key.key.algorithm();
        ours.iter().any(|suite| {
            suite.usable_for_signature_algorithm(algorithm)
                && hello.cipher_suites().contains(&suite.suite())
        }) && self.certificate.can_sign(hello.signature_schemes())
    }
}

/// The certificates of a `bind` line by name.
#[derive(Debug, Default)]
struct Entries {
    list: Vec<Entry>,
    index: Index,
    /// Those of the first certificate, which is the default one; several where it is a bundle.
    defaults: Vec<usize>,
    strict: bool,
}

impl Entries {
    /// The entry for a name: an exact name goes before a wildcard, a key that suits the client
    /// before one that does not, an elliptic key before others; then the order of configuration.
    fn pick(&self, name: Option<&str>, suits: impl Fn(&Entry) -> bool) -> Option<usize> {
        let named = name.and_then(|name| {
            self.index.lookup(name, |matches| {
                let mut all = matches.exact().chain(matches.by_wildcard());
                let first = all.next()?;
                if all.next().is_none() {
                    return Some(first);
                }
                self.best(matches.exact(), &suits)
                    .or_else(|| self.best(matches.by_wildcard(), &suits))
                    .or(Some(first))
            })
        });
        match named.flatten() {
            Some(entry) => Some(entry),
            None if self.strict => None,
            None => self
                .best(self.defaults.iter().copied(), &suits)
                .or_else(|| self.defaults.first().copied()),
        }
    }

    fn best(
        &self,
        entries: impl Iterator<Item = usize> + Clone,
        suits: impl Fn(&Entry) -> bool,
    ) -> Option<usize> {
        let mut suitable = entries.filter(|entry| suits(&self.list[*entry]));
        let mut elliptic = suitable.clone();
        elliptic
            .find(|entry| self.list[*entry].certificate.is_ecdsa())
            .or_else(|| suitable.next())
    }

    fn add(&mut self, certificate: Arc<Certificate>, group: usize, filters: &Filters) {
        let entry = self.list.len();
        let mut filters = filters.clone();
        if filters.names.is_empty() {
            let names = certificate.summary.names();
            filters.names.extend(names.map(Pattern::new));
        }
        self.index.insert(entry, filters);
        self.list.push(Entry { certificate, group });
    }
}

/// Chooses among the entries of one group.
#[derive(Debug)]
struct GroupResolver {
    entries: Arc<Entries>,
    group: usize,
}

impl ResolvesServerCert for GroupResolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // The library has already left out the schemes that no common suite can use.
        let schemes = hello.signature_schemes();
        let entry = self.entries.pick(hello.server_name(), |entry| {
            entry.group == self.group && entry.certificate.can_sign(schemes)
        })?;
        Some(Arc::clone(&self.entries.list[entry].certificate.key))
    }
}

/// The settings that make a group.
#[derive(Debug, Clone, PartialEq, Eq)]
struct GroupSettings {
    parameters: TlsParameters,
    verify: ClientVerify,
    ca_file: Option<PathBuf>,
}

impl GroupSettings {
    fn of(bind: &BindTls, options: &Options) -> Self {
        Self {
            parameters: options.apply(&bind.parameters),
            verify: options.verify.unwrap_or(bind.verify),
            ca_file: options.ca_file.clone().or_else(|| bind.ca_file.clone()),
        }
    }
}

/// A group to be, and what to say in front of its faults.
struct Planned {
    settings: GroupSettings,
    position: Position,
    context: String,
}

/// Collects the entries and groups of a `bind` line.
struct Plan<'a> {
    bind: &'a BindTls,
    entries: Entries,
    groups: Vec<Planned>,
}

impl BindState {
    fn load(
        settings: &BindTls,
        position: &Position,
        loader: &mut Loader,
        sessions: &Sessions,
    ) -> Option<Self> {
        let mut plan = Plan {
            bind: settings,
            entries: Entries {
                strict: settings.strict_sni,
                ..Entries::default()
            },
            groups: Vec::new(),
        };
        if settings.ticket_keys.is_some() {
            let message = "tls-ticket-keys is not available in this version";
            loader.error(position, message);
        }
        for source in &settings.certificates {
            plan.read(source, loader);
        }
        // As in HAProxy, a line that is strict and has nothing to show refuses everybody.
        let shows_nothing = settings.certificates.is_empty() && settings.strict_sni;
        if plan.entries.list.is_empty() && !shows_nothing {
            // Without a source this is the only fault; with one, the source's was noted.
            if settings.certificates.is_empty() {
                loader.error(position, "ssl needs a certificate: crt or crt-list");
            }
            return None;
        }
        let entries = Arc::new(plan.entries);
        let groups: Vec<_> = plan
            .groups
            .iter()
            .enumerate()
            .map(|(index, group)| {
                let resolver = Arc::new(GroupResolver {
                    entries: Arc::clone(&entries),
                    group: index,
                });
                build_group(settings, group, resolver, loader, sessions)
            })
            .collect();
        let groups = groups.into_iter().collect::<Option<_>>()?;
        Some(Self { entries, groups })
    }
}

impl Plan<'_> {
    fn read(&mut self, source: &CertificateSource, loader: &mut Loader) {
        match source {
            CertificateSource::Path(path, position) => {
                let options = Options::default();
                let group = self.group(&options, position, "");
                let found = loader.certificates(path, position, "");
                self.add(&found, group, &Filters::default(), path.is_dir());
            }
            CertificateSource::List(path, position) => {
                let file = path.display();
                let text = match fs::read_to_string(path) {
                    Ok(text) => text,
                    Err(error) => {
                        loader.error(position, format!("crt-list {file}: {error}"));
                        return;
                    }
                };
                match crt_list::parse(&text) {
                    Ok(list) if list.is_empty() => {
                        loader.error(position, format!("crt-list {file}: no certificate in it"));
                    }
                    Ok(mut list) => {
                        for entry in &mut list {
                            entry.complete(&self.bind.crt_base, &self.bind.ca_base);
                            let context = format!("crt-list {file} line {}: ", entry.line);
                            self.read_entry(entry, position, &context, loader);
                        }
                    }
                    Err(errors) => {
                        for error in errors {
                            loader.error(position, format!("crt-list {file} {error}"));
                        }
                    }
                }
            }
        }
    }

    fn read_entry(
        &mut self,
        entry: &crt_list::Entry,
        position: &Position,
        context: &str,
        loader: &mut Loader,
    ) {
        for remark in &entry.options.remarks {
            loader.warn(position, format!("{context}{remark}"));
        }
        let filters = Filters::parse(entry.filters.iter().map(String::as_str));
        if filters.names.contains(&Pattern::Any) {
            loader.warn(position, format!("{context}a lone '*' matches no name"));
        }
        let group = self.group(&entry.options, position, context);
        let found = loader.certificates(&entry.certificate, position, context);
        self.add(&found, group, &filters, entry.certificate.is_dir());
    }

    /// Adds certificates of one source; `directory` tells a directory from a bundle.
    fn add(
        &mut self,
        found: &[Arc<Certificate>],
        group: usize,
        filters: &Filters,
        directory: bool,
    ) {
        if self.entries.list.is_empty() {
            let defaults = if directory { 1 } else { found.len() };
            self.entries.defaults = (0..defaults.min(found.len())).collect();
        }
        for certificate in found {
            self.entries.add(Arc::clone(certificate), group, filters);
        }
    }

    fn group(&mut self, options: &Options, position: &Position, context: &str) -> usize {
        let settings = GroupSettings::of(self.bind, options);
        let known = self
            .groups
            .iter()
            .position(|group| group.settings == settings);
        known.unwrap_or_else(|| {
            self.groups.push(Planned {
                settings,
                position: position.clone(),
                context: context.to_owned(),
            });
            self.groups.len() - 1
        })
    }
}

fn build_group(
    bind: &BindTls,
    group: &Planned,
    resolver: Arc<GroupResolver>,
    loader: &mut Loader,
    sessions: &Sessions,
) -> Option<Group> {
    let Planned {
        settings,
        position,
        context,
    } = group;
    let roots = match &settings.ca_file {
        Some(path) => {
            let authorities = Authorities::File(path.clone());
            Some(loader.authorities(&authorities, position, context)?)
        }
        None => None,
    };
    if roots.is_some() && settings.verify == ClientVerify::None {
        let message = format!("{context}ca-file has no effect without verify");
        loader.warn(position, message);
    }
    let choices = versions::choices(&settings.parameters)
        .map_err(|reason| loader.error(position, format!("{context}{reason}")))
        .ok()?;
    let verifier = verify::client_verifier(settings.verify, roots.as_ref(), &choices.provider)
        .map_err(|reason| loader.error(position, format!("{context}{reason}")))
        .ok()?;
    let mut config = ServerConfig::builder_with_provider(choices.provider)
        .with_protocol_versions(&choices.versions)
        .map_err(|error| loader.error(position, format!("{context}{error}")))
        .ok()?
        .with_client_cert_verifier(verifier.unwrap_or_else(WebPkiClientVerifier::no_client_auth))
        .with_cert_resolver(resolver);
    let scope = scope(bind, settings.verify, roots.as_deref());
    // As in HAProxy, our order of cipher suites decides, unless the client's is asked for.
    config.ignore_client_order = !bind.prefer_client_ciphers;
    config.session_storage = sessions.cache(scope);
    if bind.tickets {
        config.ticketer = sessions.tickets(scope);
    }
    let without_alpn = Arc::new(config.clone());
    config.alpn_protocols.clone_from(&settings.parameters.alpn);
    Some(Group {
        config: Arc::new(config),
        without_alpn,
    })
}

/// Where the sessions of a group may be resumed: where the same files are offered, and the same
/// authorities vouch for clients. It stays the same when certificates are renewed in their files.
fn scope(bind: &BindTls, verify: ClientVerify, roots: Option<&Roots>) -> Scope {
    let sources = bind.certificates.iter().flat_map(|source| {
        let (kind, path): (&[u8], _) = match source {
            CertificateSource::Path(path, _) => (b"crt", path),
            CertificateSource::List(path, _) => (b"crt-list", path),
        };
        [kind, path.as_os_str().as_bytes()]
    });
    let verify: &[u8] = match verify {
        ClientVerify::None => b"none",
        ClientVerify::Optional => b"optional",
        ClientVerify::Required => b"required",
    };
    let authorities = roots
        .map_or(&[][..], Roots::certificates)
        .iter()
        .map(AsRef::as_ref);
    Scope::of(sources.chain([verify]).chain(authorities))
}

//! What names stand for while rules are compiled.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;

use super::sample::Kind;
use super::table::{StoreSet, TableId};
use super::vars::VarNames;
use crate::config::diagnostic::Fault;
use crate::config::lexer::Word;

/// A stick table, as rules refer to it.
#[derive(Debug, Clone, Copy)]
pub struct TableFacts {
    /// Which one.
    pub id: TableId,
    /// What its keys are.
    pub kind: Kind,
    /// What its entries store.
    pub stores: StoreSet,
}

/// Reads pattern files, so that tests need no file system.
pub trait PatternFiles: fmt::Debug {
    /// The whole file, or why it cannot be read.
    ///
    /// # Errors
    /// In words for a message.
    fn read(&self, path: &Path) -> Result<Arc<[u8]>, String>;
}

/// The machine's files.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemFiles;

impl PatternFiles for SystemFiles {
    fn read(&self, path: &Path) -> Result<Arc<[u8]>, String> {
        std::fs::read(path)
            .map(Arc::from)
            .map_err(|error| error.to_string())
    }
}

/// Knows the addresses of host names, so that tests need no network.
pub trait HostNames: fmt::Debug {
    /// The first IPv4 address of a host.
    ///
    /// # Errors
    /// In words for a message.
    fn ipv4(&self, name: &str) -> Result<Ipv4Addr, String>;
}

/// The machine's resolver. It blocks, for as long as a name server takes that does not answer.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemHosts;

impl HostNames for SystemHosts {
    fn ipv4(&self, name: &str) -> Result<Ipv4Addr, String> {
        let found = (name, 0)
            .to_socket_addrs()
            .map_err(|error| error.to_string())?;
        found
            .into_iter()
            .find_map(|address| match address.ip() {
                IpAddr::V4(address) => Some(address),
                IpAddr::V6(_) => None,
            })
            .ok_or_else(|| "the host has no IPv4 address".to_owned())
    }
}

/// What names stand for where a rule stands.
#[derive(Debug)]
pub struct Names<'a> {
    /// Frontends by name.
    pub frontends: &'a HashMap<Arc<str>, usize>,
    /// Backends by name, each with its servers' names in order.
    pub backends: &'a HashMap<Arc<str>, (usize, Vec<Arc<str>>)>,
    /// Stick tables, by the name of their proxy.
    pub tables: &'a HashMap<Arc<str>, TableFacts>,
    /// The proxy that the rule belongs to: its index as a frontend and as a backend.
    pub frontend: Option<usize>,
    /// See [`Names::frontend`].
    pub backend: Option<usize>,
    /// The proxy's own name, which a fetch without a table or backend means.
    pub own: &'a str,
    /// Pattern files.
    pub files: &'a dyn PatternFiles,
    /// Hosts that patterns name.
    pub hosts: &'a dyn HostNames,
    /// The variables that rules have named so far.
    pub vars: &'a VarNames,
}

impl Names<'_> {
    /// The table of this name, or the proxy's own one where none is named.
    ///
    /// # Errors
    /// When there is none.
    pub fn table(&self, name: Option<&str>, word: &Word) -> Result<TableFacts, Fault> {
        let wanted = name.unwrap_or(self.own);
        self.tables
            .get(wanted)
            .copied()
            .ok_or_else(|| word.fault(format!("unable to find stick-table '{wanted}'.")))
    }
}

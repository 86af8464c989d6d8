//! Resumption on the accepting side: tickets under rotated keys, and a cache for clients without.
//!
//! One set of keys and one cache serve all `bind` lines and workers, and outlive reloads. The
//! library checks that a session is resumed under the name it was made for, and nothing else; so
//! each ticket and cache key carries a [`Scope`], and a session is only resumed where the same
//! certificates would have been offered and the same proof been asked of the client.

use std::fmt;
use std::sync::Arc;

use rustls::Error;
use rustls::crypto::aws_lc_rs::{Ticketer, cipher_suite};
use rustls::server::{
    NoServerSessionStorage, ProducesTickets, ServerSessionMemoryCache, StoresServerSessions,
};

/// Where a session may be resumed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Scope([u8; 32]);

impl Scope {
    /// The scope of everything that shares these parts.
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let suite = cipher_suite::TLS13_AES_128_GCM_SHA256.tls13();
        let mut hash = suite
            .expect("it is a suite of TLS 1.3")
            .common
            .hash_provider
            .start();
        for part in parts {
            // With its length, so that no two lists of parts look alike.
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let output = hash.finish();
        let mut scope = [0; 32];
        scope.copy_from_slice(output.as_ref());
        Self(scope)
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scope({:02x}{:02x}..)", self.0[0], self.0[1])
    }
}

/// The keys and the cache of a process.
#[derive(Debug, Clone)]
pub struct Sessions {
    ticketer: Arc<dyn ProducesTickets>,
    /// For clients that do not take tickets; an entry has a few hundred bytes.
    cache: Option<Arc<ServerSessionMemoryCache>>,
}

impl Sessions {
    /// Random keys, changed every 6 hours; a ticket lives for 12 at most. The cache keeps `cached`
    /// sessions. Fails where the system has no randomness.
    pub fn new(cached: usize) -> Result<Self, Error> {
        Ok(Self {
            ticketer: Ticketer::new()?,
            cache: (cached > 0).then(|| ServerSessionMemoryCache::new(cached)),
        })
    }

    /// Tickets that are good within `scope`.
    pub fn tickets(&self, scope: Scope) -> Arc<dyn ProducesTickets> {
        Arc::new(ScopedTickets {
            inner: Arc::clone(&self.ticketer),
            scope,
        })
    }

    /// The part of the cache that belongs to `scope`.
    pub fn cache(&self, scope: Scope) -> Arc<dyn StoresServerSessions> {
        match &self.cache {
            Some(cache) => Arc::new(ScopedCache {
                inner: Arc::clone(cache),
                scope,
            }),
            None => Arc::new(NoServerSessionStorage {}),
        }
    }
}

#[derive(Debug)]
struct ScopedTickets {
    inner: Arc<dyn ProducesTickets>,
    scope: Scope,
}

impl ProducesTickets for ScopedTickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.inner.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.inner.encrypt(&[plain, &self.scope.0].concat())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let mut plain = self.inner.decrypt(cipher)?;
        let session = plain.strip_suffix(&self.scope.0)?.len();
        plain.truncate(session);
        Some(plain)
    }
}

#[derive(Debug)]
struct ScopedCache {
    inner: Arc<ServerSessionMemoryCache>,
    scope: Scope,
}

impl ScopedCache {
    fn key(&self, key: &[u8]) -> Vec<u8> {
        [&self.scope.0, key].concat()
    }
}

impl StoresServerSessions for ScopedCache {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.inner.put(self.key(&key), value)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.inner.get(&self.key(key))
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.inner.take(&self.key(key))
    }

    fn can_cache(&self) -> bool {
        self.inner.can_cache()
    }
}

//! TLS settings made ready for use: certificates, the choice by name, tickets, verification.
//!
//! [`Contexts::load`] reads every file that a configuration names and makes what handshakes need
//! of them; [`Contexts::reload`] does it again while the daemon runs. What handshakes use is read
//! without locks: a worker asks its [`BindContext`] or [`ServerContext`] and gets a configuration
//! that stays as it is for that handshake, whatever is loaded meanwhile.

pub mod bind;
pub mod crt_list;
pub mod facts;
pub mod loader;
pub mod pem;
pub mod reload;
pub mod server;
pub mod sni;
pub mod tickets;
pub mod verify;
pub mod versions;
pub mod x509;

#[cfg(test)]
mod tests;

pub use bind::{BindContext, Choice};
pub use facts::SessionFacts;
pub use loader::{LoadError, LoadWarning};
pub use reload::Contexts;
pub use server::{ClientFacts, ServerContext};

//! Underpass, a TCP (layer 4) proxy: the rooms of the daemon.
//!
//! A byte's way is left to right: `net` accepts, `handshake` clears the way, `stream` gets a
//! server from `backend`, `channel` carries, `offload` takes over. `ARCHITECTURE.md` says who may
//! call whom.

pub mod admin;
pub mod backend;
pub mod channel;
pub mod cli;
pub mod config;
pub mod conn;
pub mod drain;
pub mod handshake;
pub mod net;
pub mod observe;
pub mod offload;
pub mod rules;
pub mod start;
pub mod stream;
pub mod sys;
pub mod tls;
pub mod worker;

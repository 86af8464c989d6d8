//! The sockmap redirect: received segments of one socket go to the send queue of the other.
//!
//! The kernel gives this no back-pressure and loses bytes in many ways; `direction` holds the
//! protocol that keeps every byte, `flow` runs it for both directions of a flow.

pub mod direction;
pub mod engine;
pub mod flow;
pub mod watcher;

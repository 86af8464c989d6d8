//! What decides about a connection or a stream by looking at it: samples, ACLs, actions, stick tables.
//!
//! Rules are compiled once, when the configuration is read, and evaluated without allocation: a
//! value borrows from what it was taken from, or from the scratch memory of the evaluation
//! ([`scene::Scene::arena`]). Nothing here waits or touches a socket: what a rule decides is data,
//! and whoever asked carries it out.

pub mod acl;
pub mod action;
mod arguments;
pub mod cast;
pub mod convert;
pub mod expr;
pub mod fetch;
pub mod hello;
mod known;
pub mod names;
pub mod pattern;
pub mod ruleset;
pub mod run;
pub mod sample;
pub mod scene;
pub mod session;
pub mod table;
#[cfg(test)]
pub(crate) mod testing;
pub mod vars;

//! The packet relay: tc programs translate the packets of a flow's two connections into one another,
//! and the proxy's sockets sleep. `underpass_common::relay` has the decisions, `docs/relay.md` the
//! protocol.

pub mod adopt;
pub mod eligible;
pub mod engine;
pub mod flow;
pub mod grace;
pub mod inherited;
pub mod pins;
pub mod records;
pub mod watcher;

//! What a connection owes before its data flow: one file per handler, in the order in which they run.

pub mod proxy_protocol;

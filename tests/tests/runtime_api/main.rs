//! The runtime API: the same commands to our daemon and to Debian's haproxy, both started with the same file, and what
//! commands do to streams.

mod answers;
mod clients;
mod effects;
mod frontends;
mod site;
mod sockets;
mod statistics;

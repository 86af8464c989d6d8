//! A stream: two sides and two channels, from the accepted client to the log line.

pub mod connect;
pub mod idle;
pub mod interface;
pub mod introduction;
pub mod serve;
pub mod transfer;

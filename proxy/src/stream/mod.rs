//! A stream: two sides and two channels, from the accepted client to the log line.

pub mod account;
pub mod admit;
pub mod answer;
pub mod connect;
pub mod gate;
pub mod idle;
pub mod inspect;
pub mod interface;
pub mod introduction;
pub mod living;
pub mod logging;
pub mod open;
pub mod pursuit;
pub mod reach;
pub mod route;
pub mod serve;
pub mod tally;
pub mod transfer;

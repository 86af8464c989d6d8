//! Underpass, a TCP (layer 4) proxy: the rooms of the daemon.
pub mod cli;
pub mod config;

//! Types and decisions that the daemon shares with its eBPF programs.
//!
//! Everything here is `no_std`, has a fixed layout (`repr(C)`, explicit padding) where it crosses
//! into the kernel, and runs on the host too, so that the decisions the programs take are tested
//! as ordinary functions.
#![no_std]

pub mod guard;
pub mod redirect;
pub mod relay;

#[cfg(feature = "user")]
mod pod;

//! Types that the daemon shares with its eBPF programs.
#![no_std]

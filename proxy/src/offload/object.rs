//! The eBPF object, embedded at build time.

/// The object, aligned as the ELF reader wants it; empty in a build without one.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/underpass-ebpf"));

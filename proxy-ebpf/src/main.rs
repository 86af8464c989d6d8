//! The eBPF programs of Underpass: entry points and maps, thin; what they decide is in
//! `underpass-common`, where it is tested on the host.
#![no_std]
#![no_main]
#![expect(
    internal_features,
    reason = "core::sync::atomic has no read-modify-write on the BPF target; the intrinsics do"
)]
#![feature(core_intrinsics)]

mod guard;
mod redirect;
mod relay;

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}

/// The kernel's name of this object's licence: what lets it call GPL-only helpers.
// SAFETY: the kernel reads this section as a NUL-terminated string; nothing else does.
#[unsafe(link_section = "license")]
// SAFETY: no other symbol of this object has the name.
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

//! Waiting for what runs in the kernel at this moment.

/// Waits until every eBPF program that runs on a packet now has ended. A kernel that cannot wait
/// makes no difference to what is safe, only to what such a program may still see.
pub fn wait_for_programs() {
    const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;
    // SAFETY: the call takes integers and touches no memory.
    unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
}

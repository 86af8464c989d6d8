//! `aya::Pod` for the types that the daemon writes into maps.
#![expect(
    unsafe_code,
    reason = "aya asks for an unsafe marker on types it copies bytewise"
)]

use crate::redirect::{Control, State};

// SAFETY: `repr(C)`, only u64 fields, no padding: every byte is initialised and any pattern is valid.
unsafe impl aya::Pod for Control {}
// SAFETY: as for `Control`.
unsafe impl aya::Pod for State {}

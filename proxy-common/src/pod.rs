//! `aya::Pod` for the types that the daemon writes into maps.
#![expect(
    unsafe_code,
    reason = "aya asks for an unsafe marker on types it copies bytewise"
)]

use crate::guard::{Guarded, ListenerKey, Rule, SourceKey};
use crate::redirect::{Control, State};
use crate::relay::{Flow, Key};

// SAFETY: `repr(C)`, only u64 fields, no padding: every byte is initialised and any pattern is valid.
unsafe impl aya::Pod for Control {}
// SAFETY: as for `Control`.
unsafe impl aya::Pod for State {}
// SAFETY: `repr(C)`, only integers and bytes, without padding (asserted below).
unsafe impl aya::Pod for ListenerKey {}
// SAFETY: as for `ListenerKey`.
unsafe impl aya::Pod for Guarded {}
// SAFETY: as for `ListenerKey`.
unsafe impl aya::Pod for SourceKey {}
// SAFETY: as for `ListenerKey`.
unsafe impl aya::Pod for Rule {}
// SAFETY: as for `ListenerKey`.
unsafe impl aya::Pod for Key {}
// SAFETY: as for `ListenerKey`; its size is asserted where it is declared.
unsafe impl aya::Pod for Flow {}

const _: () = assert!(size_of::<ListenerKey>() == 16 + 2 + 1 + 1);
const _: () = assert!(size_of::<Guarded>() == 4 + 4 + 8 + 8);
const _: () = assert!(size_of::<SourceKey>() == 16 + 4);
const _: () = assert!(size_of::<Rule>() == 128);

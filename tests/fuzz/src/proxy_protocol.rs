//! PROXY headers.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| underpass_fuzz::check_proxy_protocol(bytes));

//! Helpers shared by the end-to-end tests and the benches: network namespaces as hosts, the daemon as a child
//! process, and traffic endpoints that notice any byte that is missing, repeated or out of place.
//!
//! Everything here needs root: namespaces, veth pairs and eBPF are the subject of the tests.

pub mod certs;
pub mod compare;
pub mod daemon;
pub mod dns;
pub mod endpoint;
pub mod failures;
pub mod log_lines;
pub mod netns;
pub mod openssl;
pub mod pattern;
pub mod peer;
pub mod pins;
pub mod process;
pub mod proxy_header;
pub mod record;
pub mod rig;
pub mod soak;
pub mod stand_in;
pub mod sys;
pub mod tls_end;
pub mod tls_peer;
pub mod tls_rig;
pub mod weather;

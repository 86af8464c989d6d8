//! Start-up of the daemon.
fn main() {}

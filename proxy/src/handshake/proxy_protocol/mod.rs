//! The PROXY protocol, versions 1 and 2: reading and writing headers, without I/O.

//! TLS's first message, read without taking part in the handshake.

//! TLS settings made ready for use: certificates, the choice by name, tickets, verification.

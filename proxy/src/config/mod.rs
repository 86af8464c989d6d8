//! HAProxy's configuration language, TCP part: lexer, parser, validated model.
pub mod model;

//! `balance hash`: its expression.

use std::sync::Arc;

use super::super::diagnostic::Fault;
use super::super::draft::Proxy;
use super::super::draft::balance::AlgorithmWords;
use super::super::model::balance::{Algorithm, Balance};
use super::Site;
use crate::rules::cast;
use crate::rules::expr::Expr;
use crate::rules::ruleset::Stage;
use crate::rules::sample::Kind;

/// What a backend's lines on balancing come to.
pub(super) fn balance(proxy: &Proxy, site: &Site<'_>) -> Result<Balance, Fault> {
    let settings = &proxy.settings.balance;
    let algorithm = match &settings.algorithm {
        AlgorithmWords::Ready(algorithm) => algorithm.clone(),
        AlgorithmWords::Hash(word) => {
            let expr = Expr::compile(word, &site.names)?;
            if !Stage::Choice.available().contains(expr.needs()) {
                return Err(word.fault(format!(
                    "'{}' looks at something that is not there yet where 'balance hash' chooses a server.",
                    word.text
                )));
            }
            if !cast::is_possible(expr.kind(), Kind::Bin) {
                return Err(word.fault(format!(
                    "'{}' gives {}, of which 'balance hash' can make no key.",
                    word.text,
                    expr.kind()
                )));
            }
            Algorithm::Hash(Arc::new(expr))
        }
    };
    Ok(Balance {
        algorithm,
        hash: settings.hash,
        factor: settings.factor,
    })
}

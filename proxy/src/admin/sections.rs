//! Frontends and backends in the order of the configuration.

use std::sync::Arc;

use crate::backend::Backend;
use crate::worker::{FrontendState, Shared};

/// A section, or half of a `listen`.
#[derive(Debug, Clone, Copy)]
pub enum Section<'a> {
    /// A frontend.
    Frontend(&'a Arc<FrontendState>),
    /// A backend.
    Backend(&'a Arc<Backend>),
}

/// All of them; of a `listen` the frontend comes first.
#[must_use]
pub fn in_order(shared: &Shared) -> Vec<Section<'_>> {
    // Both lists are in the order of the file.
    let mut frontends = shared.frontends.iter().peekable();
    let mut all = Vec::new();
    for backend in &shared.backends {
        let place = &backend.config.position;
        while let Some(frontend) = frontends.next_if(|frontend| {
            let other = &frontend.config.position;
            // Places in two files say nothing about their order.
            other.file != place.file || other.line <= place.line
        }) {
            all.push(Section::Frontend(frontend));
        }
        all.push(Section::Backend(backend));
    }
    all.extend(frontends.map(Section::Frontend));
    all
}

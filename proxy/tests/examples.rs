//! The files that users start from load without a remark.

use std::fs;
use std::path::Path;

use underpass::config::model::Environment;
use underpass::config::{self, files};

#[test]
fn every_example_loads_without_a_remark() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut seen = 0;
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "cfg") {
            continue;
        }
        seen += 1;
        let sources = files::read(std::slice::from_ref(&path)).unwrap();
        let outcome = config::load(&sources, &Environment::new());
        assert!(
            outcome.diagnostics.is_empty(),
            "{path:?} {:#?}",
            outcome.diagnostics
        );
        assert!(outcome.config.is_some());
    }
    assert!(seen > 0, "no examples");
}

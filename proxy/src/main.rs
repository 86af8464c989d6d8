//! Start-up of the daemon.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let files: Vec<std::path::PathBuf> = args
        .windows(2)
        .filter(|w| w[0] == "-f")
        .map(|w| w[1].clone().into())
        .collect();
    underpass::observe::tracing::start(true);
    let sources = underpass::config::files::read(&files).expect("files");
    let env = std::env::vars().collect();
    let outcome = underpass::config::load(&sources, &env);
    for d in &outcome.diagnostics {
        eprintln!("{d:?}");
    }
    let Some(config) = outcome.config else {
        return ExitCode::FAILURE;
    };
    match underpass::start::run(
        config,
        &underpass::start::Options {
            debug: true,
            ..Default::default()
        },
    ) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("[ALERT] {error:#}");
            ExitCode::FAILURE
        }
    }
}

//! Reading the configuration at start, `-c`, `-cc`, and `underpass check`.

use std::env;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::{self, ExitCode};

use super::render::{self, Style};
use super::{CheckArgs, Run};
use crate::config::diagnostic::{Diagnostic, Severity};
use crate::config::model::{Config, Environment, Position};
use crate::config::{self, Outcome, Source, condition, files};
use crate::offload::guard;
use crate::tls::Contexts;

/// Exit code where nothing is wrong but nothing would listen either, as HAProxy has it.
const NO_LISTENER: u8 = 2;

/// A configuration that is valid, with the certificates and keys that it names.
#[derive(Debug)]
pub struct Loaded {
    /// The model.
    pub config: Config,
    /// What TLS needs of it.
    pub contexts: Contexts,
}

/// Reads and validates the configuration that the flags name; the flags' own overrides are applied.
///
/// # Errors
/// Everything is said on standard error; the exit code is for `main` to return.
pub fn load(run: &Run, environment: &Environment) -> Result<Loaded, ExitCode> {
    let sources = read(&run.files)?;
    let (loaded, diagnostics) = evaluate(&sources, environment);
    if !run.quiet || run.verbose {
        let shown = shown(&diagnostics, run.diagnostic);
        complain(&render::haproxy(&shown, process::id()));
        if loaded.is_none() {
            complain(&render_fatal("Fatal errors found in configuration."));
        }
    }
    let Loaded {
        mut config,
        contexts,
    } = loaded.ok_or(ExitCode::FAILURE)?;
    let warned = diagnostics.iter().any(|d| d.severity == Severity::Warning);
    if warned && run.warnings_are_errors {
        if !run.quiet {
            complain(&render_fatal(
                "Some warnings were found and '-dW' makes them fatal.",
            ));
        }
        return Err(ExitCode::FAILURE);
    }
    run.apply(&mut config.global);
    if let Some(limit) = run.default_maxconn {
        for frontend in &mut config.frontends {
            frontend.maxconn.get_or_insert(limit);
        }
    }
    if warned && run.check && !run.quiet {
        complain("Warnings were found.\n");
    }
    Ok(Loaded { config, contexts })
}

/// The configuration of these files, and everything that is wrong with it or the files that it
/// names.
fn evaluate(sources: &[Source], environment: &Environment) -> (Option<Loaded>, Vec<Diagnostic>) {
    let Outcome {
        config,
        mut diagnostics,
    } = config::load(sources, &with_files(environment, sources));
    let Some(config) = config else {
        return (None, diagnostics);
    };
    let remark = |severity, position: &Position, message: &str| Diagnostic {
        severity,
        position: position.clone(),
        message: message.to_owned(),
    };
    let contexts = match Contexts::load(&config) {
        Ok(contexts) => contexts,
        Err(errors) => {
            let alerts = errors
                .iter()
                .map(|error| remark(Severity::Alert, &error.position, &error.message));
            diagnostics.extend(alerts);
            return (None, diagnostics);
        }
    };
    let warnings = contexts.warnings();
    let warnings = warnings
        .iter()
        .map(|warning| remark(Severity::Warning, &warning.position, &warning.message));
    diagnostics.extend(warnings);
    if !config.global.guards.is_empty() {
        let placed = guard::compile::compile(&config).placed;
        diagnostics.extend(placed.iter().map(|placed| {
            let message = match placed.guarded {
                Ok(()) => "the guard enforces this rule.".to_owned(),
                Err(why) => format!("the guard cannot enforce this rule: {why}."),
            };
            remark(Severity::Notice, &placed.position, &message)
        }));
    }
    (Some(Loaded { config, contexts }), diagnostics)
}

/// `-c`: checks, says the verdict, and gives the exit code.
pub fn run(run: &Run, environment: &Environment) -> ExitCode {
    let config = match load(run, environment) {
        Ok(loaded) => loaded.config,
        Err(code) => return code,
    };
    let (verdict, code) = if listens(&config) {
        ("Configuration file is valid\n", ExitCode::SUCCESS)
    } else {
        (
            "Configuration file has no error but will not start (no listener) => exit(2).\n",
            ExitCode::from(NO_LISTENER),
        )
    };
    if !run.quiet {
        say(verdict);
    }
    code
}

/// `-cc`: exit code 0 if the condition is true, 1 if not, 2 if it cannot be understood.
pub fn condition(expression: &str, environment: &Environment) -> ExitCode {
    // Quotes and variables work as on a line of a file.
    let line = expression.as_bytes();
    let variables = config::lexer::Variables {
        environment,
        section: "",
    };
    let words = match config::lexer::split(line, &"-cc".into(), 1, variables) {
        Ok(line) => line.words,
        Err(fault) => {
            complain(&render_fatal(&format!(
                "Failed to parse condition '{expression}': {}",
                fault.message
            )));
            return ExitCode::from(2);
        }
    };
    let words: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
    match condition::evaluate(&words.join(" "), environment) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            complain(&render_fatal(&format!(
                "Failed to evaluate condition: {}",
                error.message
            )));
            ExitCode::from(2)
        }
    }
}

/// `underpass check`: shows each mistake in its line.
pub fn pretty(args: &CheckArgs, environment: &Environment) -> ExitCode {
    let sources = match read(&args.files) {
        Ok(sources) => sources,
        Err(code) => return code,
    };
    let (loaded, diagnostics) = evaluate(&sources, environment);
    let colours = io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none();
    let shown = shown(&diagnostics, false);
    complain(&render::pretty(&shown, &sources, Style::new(colours)));
    let count = |severity| shown.iter().filter(|d| d.severity == severity).count();
    let (errors, warnings) = (count(Severity::Alert), count(Severity::Warning));
    match loaded {
        Some(Loaded { config, .. }) if warnings == 0 || !args.deny_warnings => {
            let note = if listens(&config) {
                ""
            } else {
                "; nothing would listen"
            };
            say(&format!(
                "{} file(s), {} frontend(s), {} backend(s), {warnings} warning(s): valid{note}\n",
                sources.len(),
                config.frontends.len(),
                config.backends.len(),
            ));
            ExitCode::SUCCESS
        }
        _ => {
            complain(&format!("{errors} error(s), {warnings} warning(s)\n"));
            ExitCode::FAILURE
        }
    }
}

/// Whether anything would listen.
fn listens(config: &Config) -> bool {
    config
        .frontends
        .iter()
        .any(|frontend| !frontend.disabled && !frontend.binds.is_empty())
}

fn read(paths: &[PathBuf]) -> Result<Vec<Source>, ExitCode> {
    files::read(paths).map_err(|errors| {
        for error in errors {
            complain(&render_fatal(&error.to_string()));
        }
        ExitCode::FAILURE
    })
}

/// `HAPROXY_CFGFILES` is for the files themselves to use.
fn with_files(environment: &Environment, sources: &[Source]) -> Environment {
    let names: Vec<&str> = sources.iter().map(|source| &*source.name).collect();
    let mut environment = environment.clone();
    environment.insert("HAPROXY_CFGFILES".to_owned(), names.join(";"));
    environment
}

fn shown(diagnostics: &[Diagnostic], all: bool) -> Vec<Diagnostic> {
    diagnostics
        .iter()
        .filter(|d| all || d.severity > Severity::Diag)
        .cloned()
        .collect()
}

fn render_fatal(message: &str) -> String {
    format!("[ALERT]    ({}) : config : {message}\n", process::id())
}

/// A reader that went away is no reason to fail.
fn say(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

fn complain(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

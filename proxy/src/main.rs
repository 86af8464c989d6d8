//! Start-up and nothing else: reads the command line and hands over.

use std::io::Write as _;
use std::process::ExitCode;

use underpass::cli::{self, Invocation, Run};
use underpass::config::model::PinDirectory;
use underpass::{observe, offload, start};

fn main() -> ExitCode {
    match cli::parse(std::env::args_os()) {
        Ok(invocation) => obey(invocation),
        Err(usage) => {
            let mut out: Box<dyn std::io::Write> = if usage.to_stderr {
                Box::new(std::io::stderr())
            } else {
                Box::new(std::io::stdout())
            };
            // Whoever closed the stream does not want to know.
            let _ = writeln!(out, "{}", usage.message.trim_end());
            ExitCode::from(usage.code)
        }
    }
}

fn obey(invocation: Invocation) -> ExitCode {
    match invocation {
        Invocation::Version { verbose } => print(&cli::version::text(verbose)),
        Invocation::Condition(expression) => cli::check::condition(
            &expression,
            &Run::default().environment(std::env::vars_os()),
        ),
        Invocation::Check(args) => {
            cli::check::pretty(&args, &Run::default().environment(std::env::vars_os()))
        }
        Invocation::Probe(args) => {
            observe::tracing::start(false);
            print(&offload::probe::report(&offload::probe::probe(), args.json))
        }
        Invocation::Why(args) => match offload::guard::running::why(args.address) {
            Ok(text) => print(&text),
            Err(error) => alert(&error.to_string()),
        },
        Invocation::Clean(args) => clean(args),
        Invocation::Run(run) => daemon(&run),
    }
}

fn print(text: &str) -> ExitCode {
    // Whoever closed the stream does not want to know.
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn daemon(run: &Run) -> ExitCode {
    if let Some(directory) = &run.chdir
        && let Err(error) = std::env::set_current_dir(directory)
    {
        return alert(&format!("-C {}: {error}", directory.display()));
    }
    let environment = run.environment(std::env::vars_os());
    if run.check {
        return cli::check::run(run, &environment);
    }
    observe::tracing::start(run.debug);
    let cli::check::Loaded {
        mut config,
        contexts,
    } = match cli::check::load(run, &environment) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    run.apply(&mut config.global);
    let options = start::Options {
        announce: run.foreground || !run.quiet,
        no_splice: run.no_splice,
        finish: run.finish.clone(),
        terminate: run.terminate.clone(),
    };
    match start::run(config, contexts, &options) {
        Ok(code) => code,
        Err(error) => alert(&format!("{error:#}")),
    }
}

fn clean(args: cli::CleanArgs) -> ExitCode {
    let usual = || Some(offload::relay::pins::USUAL.into());
    let directory = match args.directory {
        Some(directory) => Some(directory),
        None if args.files.is_empty() => usual(),
        None => {
            let run = Run {
                files: args.files,
                ..Run::default()
            };
            match cli::check::load(&run, &run.environment(std::env::vars_os())) {
                Ok(loaded) => match loaded.config.global.pins {
                    PinDirectory::Usual => usual(),
                    PinDirectory::Off => None,
                    PinDirectory::At(directory) => Some(directory),
                },
                Err(code) => return code,
            }
        }
    };
    let Some(directory) = directory else {
        return alert("the configuration says 'offload-pins off': name the directory");
    };
    match offload::relay::pins::clean(&directory) {
        Ok(removed) if removed.is_empty() => {
            print(&format!("{}: nothing is pinned\n", directory.display()))
        }
        Ok(removed) => {
            let lines = removed
                .iter()
                .map(|path| format!("removed {}\n", path.display()));
            print(&lines.collect::<String>())
        }
        Err(error) => alert(&format!("{error:#}")),
    }
}

fn alert(text: &str) -> ExitCode {
    // Without a standard error the exit code has to do.
    let _ = writeln!(
        std::io::stderr(),
        "[ALERT]    ({}) : {text}",
        std::process::id()
    );
    ExitCode::FAILURE
}

//! Start-up and the life of the process: from a validated configuration to its last flow.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::broadcast;
use tokio::time::Instant;

use crate::admin::operator::Operator;
use crate::admin::{self, socket};
use crate::backend::Backend;
use crate::backend::names::state::SectionState;
use crate::config::model::rules::Target;
use crate::config::model::{self, BackendId, Config, Frontend, Global, LogTarget, OffloadMode};
use crate::drain::{self, Control, Phase};
use crate::net::listen::{self, Listening};
use crate::net::places::Places;
use crate::observe::log::{Identity, LEVEL_NOTICE, Logger};
use crate::offload::guard::attached::Guards;
use crate::offload::guard::plan::Plan;
use crate::offload::relay::adopt;
use crate::offload::{self, guard};
use crate::rules::table::{Table, Tables};
use crate::rules::vars::ProcessVars;
use crate::sys::process;
use crate::tls::Contexts;
use crate::worker::{self, Clock, FrontendState, Request, Shared};

/// Descriptors that the process needs besides those of its flows.
const RESERVED_FILES: u64 = 100;
/// Descriptors of a flow: its two sockets.
const FILES_PER_FLOW: u64 = 2;

/// Requests that workers may be behind with before they miss one: more than clients of the runtime
/// API ask at once.
const REQUESTS: usize = 1024;

/// How long a guard waits for the process before this one to let go of an interface.
const GUARD_PATIENCE: Duration = Duration::from_secs(10);
/// How often it looks.
const GUARD_RETRY: Duration = Duration::from_millis(100);

/// How the command line wants the process to run, besides what it changed in the configuration.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Say on standard error when the listeners are open.
    pub announce: bool,
    /// No splice: every user-space direction takes a buffer.
    pub no_splice: bool,
    /// Processes to tell, once ready, to finish their flows.
    pub finish: Vec<i32>,
    /// Processes to tell, once ready, to stop.
    pub terminate: Vec<i32>,
}

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// What kept it from starting, in words for the operator.
pub fn run(config: Config, contexts: Contexts, options: &Options) -> Result<ExitCode> {
    let plan = if config.global.guards.is_empty() {
        Plan::default()
    } else {
        guard::compile::compile(&config).plan
    };
    let global = config.global;
    let files = process::raise_file_limit(global.ulimit_n).context("raising the file limit")?;
    let places = global.maxconn.unwrap_or_else(|| {
        usize::try_from(files.saturating_sub(RESERVED_FILES) / FILES_PER_FLOW).unwrap_or(1)
    });
    let frontends: Vec<Arc<_>> = config.frontends.into_iter().map(Arc::new).collect();
    let workers = worker_count(&global);
    let listening = listen::open_all(&frontends, workers)?;
    let api = socket::open(&global.stats_sockets)?;
    let listeners = listening.first().map_or(0, Vec::len);
    if global.daemon {
        process::daemonize().context("going to the background")?;
    }
    if let Some(path) = &global.pidfile {
        std::fs::write(path, format!("{}\n", std::process::id()))
            .with_context(|| format!("writing the pid file {}", path.display()))?;
    }
    let wanted = offload_wanted(
        frontends
            .iter()
            .map(|f| f.offload)
            .chain(config.backends.iter().map(|b| b.offload)),
    );
    let successor = !(options.finish.is_empty() && options.terminate.is_empty());
    let availability = Arc::new(offload::start(&global, wanted, successor));
    let guards = Guards::attach(&global.guards, plan);
    confine(&global)?;
    let identity = Identity::new(&global);
    let (logger, log_thread) = Logger::start(identity).context("starting the log writer")?;
    let logs: Arc<[LogTarget]> = global.logs.clone().into();
    let fronts = frontends.clone();
    let shared = Arc::new(Shared {
        frontends: frontends
            .into_iter()
            .enumerate()
            .map(|(index, config)| Arc::new(FrontendState::new(index, config, &contexts)))
            .collect(),
        backends: config
            .backends
            .into_iter()
            .enumerate()
            .map(|(index, config)| {
                let full = fullconn(&config, index, &fronts, places);
                Arc::new(Backend::new(index, config, &contexts, full))
            })
            .collect(),
        availability,
        no_splice: options.no_splice,
        active: Arc::default(),
        places: Places::new(Some(places)),
        most: places,
        files,
        workers,
        tables: Tables::new(config.tables.into_iter().map(Table::new).collect()),
        vars: ProcessVars::default(),
        resolvers: config
            .resolvers
            .into_iter()
            .map(SectionState::new)
            .collect(),
        clock: Clock::default(),
        global,
    });
    let (control, drain) = drain::new();
    let (requests, _) = broadcast::channel(REQUESTS);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the runtime of the main thread")?;
    // Before `ready` is announced: a signal that comes right after it must be understood.
    let signals = {
        let _context = runtime.enter();
        Signals::new().context("installing signal handlers")?
    };
    let adopter = adopt::begin(&shared, &logger);
    let threads = start_workers(&shared, listening, &logger, &drain, &requests)?;
    let operator = Operator::new(shared.clone(), logger.clone(), requests.clone());
    let admin = admin::start(operator, api, drain.clone()).context("starting the admin thread")?;
    announce(listeners, workers, options);
    for frontend in &shared.frontends {
        let text = format!("Proxy {} started.", frontend.config.name);
        logger.text(&logs, LEVEL_NOTICE, text);
    }
    tell_predecessors(options);
    runtime.spawn(adopt::run(adopter, shared.clone(), logger.clone()));
    let outcome = runtime.block_on(supervise(
        signals, &control, &requests, &shared, contexts, guards, threads,
    ));
    // It has nothing to wait for once the workers have ended.
    let _ = admin.join();
    // Before the flows are counted, nobody may look after them any more.
    drop(runtime);
    leave_relay(&shared, &logger, &logs);
    drop(logger);
    // The writer has only what is queued left to write.
    let _ = log_thread.join();
    outcome.map(|()| ExitCode::SUCCESS)
}

fn worker_count(global: &Global) -> usize {
    global
        .nbthread
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get))
}

/// The streams at which a backend's servers take their `maxconn`: unless it says so itself, a tenth
/// of what the frontends may send there, rounded up.
fn fullconn(
    backend: &model::Backend,
    index: usize,
    fronts: &[Arc<Frontend>],
    places: usize,
) -> u32 {
    let sends = |front: &&Arc<Frontend>| {
        front.default_backend == Some(BackendId(index))
            || front.rules.routes.iter().any(|route| match &route.target {
                Target::Fixed(id) => id.0 == index,
                Target::Named(_) => true,
            })
    };
    let most = fronts.iter().filter(sends);
    let most: usize = most.map(|front| front.maxconn.unwrap_or(places)).sum();
    let full = backend.fullconn.unwrap_or_else(|| most.div_ceil(10));
    u32::try_from(full).unwrap_or(u32::MAX)
}

/// Whether any proxy can ask for the kernel at all.
fn offload_wanted(modes: impl Iterator<Item = Option<OffloadMode>>) -> offload::Wanted {
    let mut wanted = offload::Wanted::default();
    for mode in modes {
        wanted.redirect |= mode == Some(OffloadMode::Redirect);
        wanted.relay |= mode == Some(OffloadMode::Relay);
        wanted.best |= mode.unwrap_or_default() == OffloadMode::Auto;
    }
    wanted
}

/// Gives up what the process needs no longer.
fn confine(global: &Global) -> Result<()> {
    if let Some(root) = &global.chroot {
        std::os::unix::fs::chroot(root)
            .and_then(|()| std::env::set_current_dir("/"))
            .with_context(|| format!("chroot to {}", root.display()))?;
    }
    process::become_user(global.uid, global.gid).context("changing user and group")
}

fn start_workers(
    shared: &Arc<Shared>,
    listening: Vec<Vec<Listening>>,
    logger: &Logger,
    drain: &drain::Drain,
    requests: &broadcast::Sender<Request>,
) -> Result<Vec<JoinHandle<std::io::Result<()>>>> {
    listening
        .into_iter()
        .enumerate()
        .map(|(number, listening)| {
            let shared = shared.clone();
            let logger = logger.clone();
            let drain = drain.clone();
            let requests = requests.subscribe();
            std::thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(move || worker::run(number, shared, listening, logger, drain, requests))
                .context("starting a worker")
        })
        .collect()
}

fn announce(listeners: usize, workers: usize, options: &Options) {
    if options.announce {
        // A closed standard error has no reader who would miss it.
        let _ = writeln!(
            std::io::stderr(),
            "underpass {}: ready ({listeners} listeners, {workers} workers)",
            env!("CARGO_PKG_VERSION")
        );
    }
}

fn tell_predecessors(options: &Options) {
    let finish = options.finish.iter().map(|pid| (*pid, true));
    let terminate = options.terminate.iter().map(|pid| (*pid, false));
    for (pid, finish) in finish.chain(terminate) {
        if let Err(error) = process::tell(pid, finish) {
            tracing::warn!(pid, %error, "the previous process could not be told to leave");
        }
    }
}

/// Says how many relayed flows go on without us.
fn leave_relay(shared: &Shared, logger: &Logger, logs: &Arc<[LogTarget]>) {
    let Some(relay) = shared.availability.relay() else {
        return;
    };
    match relay.close() {
        Ok(0) => {}
        Ok(flows) => {
            let text = format!("{flows} relayed flows go on in the kernel");
            tracing::info!("{text}");
            logger.text(logs, LEVEL_NOTICE, text);
        }
        Err(error) => tracing::warn!(%error, "what is pinned of the relay stays"),
    }
}

/// The signals that the process understands.
struct Signals {
    finish: Signal,
    stop: Signal,
    interrupt: Signal,
    show: Signal,
    reload: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            finish: signal(SignalKind::user_defined1())?,
            stop: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            show: signal(SignalKind::hangup())?,
            reload: signal(SignalKind::user_defined2())?,
        })
    }
}

/// Obeys signals until every worker has ended.
async fn supervise(
    mut signals: Signals,
    control: &Control,
    requests: &broadcast::Sender<Request>,
    shared: &Shared,
    contexts: Contexts,
    mut guards: Guards,
    threads: Vec<JoinHandle<std::io::Result<()>>>,
) -> Result<()> {
    let contexts = Arc::new(contexts);
    let mut ended = tokio::task::spawn_blocking(move || join(threads));
    let give_up = Instant::now() + GUARD_PATIENCE;
    // When to go on to the next phase without a signal.
    let mut next: Option<(Instant, Phase)> = None;
    loop {
        let due = async {
            match next {
                Some((at, phase)) => {
                    tokio::time::sleep_until(at).await;
                    phase
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            result = &mut ended => return result?,
            Some(()) = signals.stop.recv() => control.advance(Phase::Stopping),
            Some(()) = signals.interrupt.recv() => control.advance(Phase::Stopping),
            Some(()) = signals.finish.recv() => {
                let grace = shared.global.grace.unwrap_or_default();
                next = Some((Instant::now() + grace, Phase::Draining));
            }
            phase = due => {
                control.advance(phase);
                // A process that takes over guards from now on, and has the relay.
                guards.detach();
                shared.availability.let_go();
                let limit = shared.global.hard_stop_after;
                next = limit
                    .filter(|_| phase == Phase::Draining)
                    .map(|limit| (Instant::now() + limit, Phase::Stopping));
            }
            () = tokio::time::sleep(GUARD_RETRY), if guards.is_waiting() => {
                guards.retry(Instant::now() >= give_up);
            }
            Some(()) = signals.reload.recv() => {
                let contexts = contexts.clone();
                // It reads files. Its outcome is only logged, so nobody waits for it.
                drop(tokio::task::spawn_blocking(move || reload(&contexts)));
            }
            // Nobody subscribed means that the workers are ending.
            Some(()) = signals.show.recv() => drop(requests.send(Request::ShowLiving)),
        }
    }
}

/// Reads certificates, keys and authorities again. What cannot be used is said, and leaves everything
/// as it was.
fn reload(contexts: &Contexts) {
    match contexts.reload() {
        Ok(count) => {
            tracing::info!(certificates = count, "certificates were loaded again");
            for warning in contexts.warnings().iter() {
                tracing::warn!("{warning}");
            }
        }
        Err(errors) => {
            for error in errors {
                tracing::warn!("certificates are kept as they were: {error}");
            }
        }
    }
}

fn join(threads: Vec<JoinHandle<std::io::Result<()>>>) -> Result<()> {
    let mut result = Ok(());
    for (number, thread) in threads.into_iter().enumerate() {
        match thread.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                result = Err(anyhow!(error).context(format!("worker {number} failed")));
            }
            Err(_) => result = Err(anyhow!("worker {number} panicked")),
        }
    }
    result
}

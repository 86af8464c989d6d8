//! Many flows through one daemon, at once and one after the other, each with contents, sizes, cuts, pauses and an end of
//! its own, and each checked by whoever receives it.
//!
//! A direction of a flow is described by the first bytes of its own contents: its [`Script`] follows from them. So
//! neither end has to know which of the other side's connections it is talking to.

mod end;
mod script;
pub mod site;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::pattern::Dice;
use crate::peer::Buffers;
use crate::record::Record;
use crate::rig::Rig;

use end::Carried;
pub use end::Trouble;
use script::{FROM_SERVER, Script};

/// What is to be carried.
#[derive(Clone, Copy, Debug)]
pub struct Traffic {
    /// Sizes, cuts and moments follow from it.
    pub seed: u64,
    /// Flows in all.
    pub flows: u32,
    /// Flows at once.
    pub at_once: u32,
    /// The most that one direction of a flow carries, bytes; short ones are more likely.
    pub most: u64,
    /// How long a flow may take.
    pub patience: Duration,
    /// Buffers of some clients; the others have the kernel's own.
    pub buffers: Buffers,
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            seed: 1,
            flows: 400,
            at_once: 100,
            most: 2 << 20,
            patience: Duration::from_secs(60),
            buffers: Buffers::default(),
        }
    }
}

/// What one flow came to at one of its ends.
#[derive(Debug)]
struct Flow {
    /// The client's address and port, as the daemon logs it; unknown at the server, and without a connection.
    client: Option<String>,
    result: Result<Carried, Trouble>,
}

/// What has been carried, and what went wrong.
#[derive(Debug, Default)]
pub struct Summary {
    /// Flows that were tried.
    pub flows: usize,
    /// Bytes that arrived, both directions.
    pub bytes: u64,
    /// Flows whose contents were wrong, or ended too early in what looked like order.
    pub wrong: Vec<String>,
    /// Flows that were reset.
    pub resets: Vec<String>,
    /// Flows that stood still, or never began.
    pub stuck: Vec<String>,
    /// Flows of which the kernel moved bytes.
    pub promoted: usize,
    /// Why others were not promoted, and how many.
    pub reasons: BTreeMap<String, usize>,
    /// Where the daemon's own account differs from the clients'.
    pub miscounted: Vec<String>,
    /// By client, what its flows carried up and down.
    carried: BTreeMap<String, Vec<(u64, u64)>>,
}

impl Summary {
    fn add(&mut self, flow: Flow) {
        let who = flow.client.as_deref().unwrap_or("server");
        match flow.result {
            Ok(carried) => {
                self.bytes += carried.received;
                if let Some(client) = flow.client {
                    let carried = (carried.sent, carried.received);
                    self.carried.entry(client).or_default().push(carried);
                }
            }
            Err(trouble) => {
                let list = match &trouble {
                    Trouble::Wrong(_) => &mut self.wrong,
                    Trouble::Reset(_) => &mut self.resets,
                    Trouble::Stuck(_) => &mut self.stuck,
                };
                list.push(format!("{who}: {trouble}"));
            }
        }
    }

    /// Compares what clients saw with what the daemon logged.
    pub fn account(&mut self, records: &[Record]) {
        let mut logged: BTreeMap<&str, Vec<(u64, u64)>> = BTreeMap::new();
        for record in records {
            let carried = (record.up.unwrap_or_default(), record.down);
            logged.entry(&record.client).or_default().push(carried);
            if record.kernel.iter().any(|bytes| *bytes > 0) {
                self.promoted += 1;
            } else {
                *self.reasons.entry(record.why.clone()).or_default() += 1;
            }
            if record.end != "--" {
                self.miscounted.push(record.line.clone());
            }
        }
        for (client, carried) in &mut self.carried {
            // A port may have served several flows, which are collected here in another order than they are logged in.
            let mut logged = logged.remove(client.as_str()).unwrap_or_default();
            carried.sort_unstable();
            logged.sort_unstable();
            if *carried != logged {
                let what = format!("{client}: carried {carried:?}, logged {logged:?}");
                self.miscounted.push(what);
            }
        }
    }

    /// Whether every byte arrived, every flow ended in order, and the daemon knows.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let lists = [&self.wrong, &self.resets, &self.stuck, &self.miscounted];
        lists.iter().all(|list| list.is_empty())
    }

    /// Adds what another run came to.
    pub fn merge(&mut self, other: Self) {
        self.flows += other.flows;
        self.bytes += other.bytes;
        self.wrong.extend(other.wrong);
        self.resets.extend(other.resets);
        self.stuck.extend(other.stuck);
        self.miscounted.extend(other.miscounted);
        self.promoted += other.promoted;
        for (reason, count) in other.reasons {
            *self.reasons.entry(reason).or_default() += count;
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} flows, {} promoted, {} MB; wrong {}, resets {}, stuck {}, miscounted {}; not promoted: {:?}",
            self.flows,
            self.promoted,
            self.bytes >> 20,
            self.wrong.len(),
            self.resets.len(),
            self.stuck.len(),
            self.miscounted.len(),
            self.reasons
        )?;
        for (what, list) in [
            ("wrong", &self.wrong),
            ("reset", &self.resets),
            ("stuck", &self.stuck),
            ("miscounted", &self.miscounted),
        ] {
            for line in list.iter().take(8) {
                write!(f, "\n{what}: {line}")?;
            }
        }
        Ok(())
    }
}

/// Runs `traffic` through the daemon of `rig`, whose clients connect to its address and one of `ports`, and compares its
/// log with what the ends saw.
///
/// # Panics
/// When the ends cannot be set up, or the daemon does not log all flows.
#[must_use]
pub fn run(rig: &Rig, ports: &[u16], traffic: &Traffic) -> Summary {
    let before = rig.daemon.records().len();
    let mut summary = carry(rig, ports, traffic);
    // Flows that never began have no line; every other has one.
    let silent = summary.stuck.len() + summary.resets.len();
    let flows = summary.flows.saturating_sub(silent);
    let records = match rig.daemon.wait_records(before + flows) {
        Ok(records) => records,
        Err(error) => {
            let left: Vec<String> = rig
                .daemon
                .live(1)
                .unwrap_or_default()
                .into_iter()
                .map(|live| live.line)
                .collect();
            panic!("{error:#}\n{summary}\nstill there: {left:#?}");
        }
    };
    summary.account(&records[before..]);
    summary
}

/// Runs `traffic` without a look at the daemon's log.
///
/// # Panics
/// When the ends cannot be set up.
#[must_use]
pub fn carry(rig: &Rig, ports: &[u16], traffic: &Traffic) -> Summary {
    let listener = rig.listener.try_clone().expect("a listener to share");
    listener.set_nonblocking(true).expect("non-blocking");
    let done = Notify::new();
    let flows: Mutex<Vec<Flow>> = Mutex::default();
    let end = |flow: Flow| {
        flows
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(flow);
    };
    thread::scope(|scope| {
        let (done, end, net) = (&done, &end, &rig.net);
        scope.spawn(move || {
            net.server.run(|| {
                runtime().block_on(async {
                    let listener = TcpListener::from_std(listener).expect("a listener");
                    serve(&listener, traffic, done, end).await;
                });
            });
        });
        let to: Vec<SocketAddr> = ports
            .iter()
            .map(|port| SocketAddr::new(rig.proxy.ip(), *port))
            .collect();
        net.client
            .run(|| runtime().block_on(visit(&to, traffic, end)));
        done.notify_one();
    });
    rig.listener.set_nonblocking(false).expect("blocking again");
    let mut summary = Summary {
        flows: usize::try_from(traffic.flows).unwrap_or_default(),
        ..Summary::default()
    };
    for flow in flows.into_inner().unwrap_or_else(PoisonError::into_inner) {
        summary.add(flow);
    }
    summary
}

fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Makes all the flows, as many at once as there are to be.
async fn visit(to: &[SocketAddr], traffic: &Traffic, end: &impl Fn(Flow)) {
    let (to, traffic) = (Arc::<[SocketAddr]>::from(to), *traffic);
    let next = Arc::new(AtomicU32::new(0));
    let mut visitors = JoinSet::new();
    for _ in 0..traffic.at_once {
        let (next, to) = (Arc::clone(&next), Arc::clone(&to));
        visitors.spawn(async move {
            let mut flows = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= traffic.flows {
                    break flows;
                }
                let mut dice = Dice::new(traffic.seed ^ u64::from(number) << 32);
                let at = usize::try_from(dice.below(to.len() as u64)).unwrap_or_default();
                flows.push(visitor(to[at], &traffic, number, &mut dice).await);
            }
        });
    }
    while let Some(flows) = visitors.join_next().await {
        flows.expect("a visitor").into_iter().for_each(end);
    }
}

async fn visitor(to: SocketAddr, traffic: &Traffic, number: u32, dice: &mut Dice) -> Flow {
    let connect = async {
        let socket = if to.is_ipv4() {
            TcpSocket::new_v4()
        } else {
            TcpSocket::new_v6()
        }?;
        if dice.below(2) == 0 {
            traffic.buffers.apply(&socket)?;
        }
        let stream = socket.connect(to).await?;
        stream.set_nodelay(dice.below(2) == 0)?;
        Ok(stream)
    };
    let connected: std::io::Result<_> = match tokio::time::timeout(traffic.patience, connect).await
    {
        Ok(connected) => connected,
        Err(_) => {
            let result = Err(Trouble::Stuck("while connecting".to_owned()));
            return Flow {
                client: None,
                result,
            };
        }
    };
    let stream = match connected {
        Ok(stream) => stream,
        Err(error) => {
            let result = Err(Trouble::of(&error, "while connecting"));
            return Flow {
                client: None,
                result,
            };
        }
    };
    let local = stream.local_addr().ok();
    let script = Script::of_number(number, traffic.seed, traffic.most);
    let result = end::talk(stream, script, traffic).await;
    Flow {
        client: local.map(|local| format!("{}:{}", local.ip(), local.port())),
        result,
    }
}

/// Answers whoever comes, until all visitors are done.
async fn serve(listener: &TcpListener, traffic: &Traffic, done: &Notify, end: &impl Fn(Flow)) {
    let mut servers = JoinSet::new();
    let mut number = 0;
    let mut are_done = false;
    loop {
        tokio::select! {
            accepted = listener.accept(), if !are_done => {
                let Ok((stream, _)) = accepted else { continue };
                let script = Script::of_number(number | FROM_SERVER, traffic.seed, traffic.most);
                number += 1;
                let traffic = *traffic;
                servers.spawn(async move {
                    let nodelay = !script.seed.is_multiple_of(3);
                    let _ = stream.set_nodelay(nodelay);
                    end::talk(stream, script, &traffic).await
                });
            }
            () = done.notified(), if !are_done => are_done = true,
            Some(result) = servers.join_next() => {
                let result = result.expect("a server");
                end(Flow { client: None, result });
            }
            else => return,
        }
    }
}

//! Servers by host name: finds their addresses, and keeps them up to date.
//!
//! [`machine`] decides, without I/O: who is asked when, which server takes which address. Its parts are
//! the questions about one name ([`inquiry`]), the records of the last answers ([`seen`]) and the choice
//! among addresses ([`choose`]). [`wire`] and [`exchange`] ask name servers; this file joins them, on
//! the thread beside the workers, and changes servers by way of the [`Operator`].

pub mod choose;
pub mod exchange;
pub mod inquiry;
pub mod machine;
pub mod question;
pub mod seen;
pub mod state;
pub mod wire;

use std::future::pending;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::admin::operator::{Change, Operator};
use crate::backend::standing::Admin;
use crate::config::model::ServerAddress;
use crate::config::model::names::Resolvers;
use crate::observe::log::LEVEL_NOTICE;
use crate::rules::scene::Millis;
use crate::stream::living::ServerAt;
use crate::worker::Shared;
use inquiry::Patience;
use machine::errand::Errand;
use machine::{Action, Ask, By, Effect, Holds, Machine, Section, SlotPlan};
use question::{Answer, Failure};

/// Resolves names for as long as the process serves.
pub async fn run(operator: Rc<Operator>) {
    let plans = plans(&operator.shared);
    if plans.is_empty() {
        return;
    }
    let (sender, answers) = unbounded_channel();
    let errands = operator.take_errands();
    Names::new(operator, plans, sender)
        .run(answers, errands)
        .await;
}

/// The servers whose names are resolved.
fn plans(shared: &Shared) -> Vec<SlotPlan> {
    let mut plans = Vec::new();
    for (index, backend) in shared.backends.iter().enumerate() {
        if backend.config.disabled {
            continue;
        }
        for server in &backend.servers {
            let naming = &server.config.naming;
            let (Some(host), Some(section)) = (&naming.host, naming.resolvers) else {
                continue;
            };
            let ServerAddress::Inet(address) = server.address() else {
                continue;
            };
            plans.push(SlotPlan {
                at: ServerAt {
                    backend: index,
                    server: server.index,
                },
                host: host.clone(),
                section,
                wish: naming.wish.clone(),
                ignore_weight: naming.ignore_weight,
                address: (!naming.unresolved).then_some(address.ip()),
            });
        }
    }
    plans
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn section(config: &Resolvers) -> Section {
    Section {
        patience: Patience {
            resolve: millis(config.resolve),
            retry: millis(config.retry),
            tries: config.retries.max(1),
            nameservers: config.nameservers.len(),
        },
        holds: Holds {
            valid: millis(config.hold.valid),
            nx: millis(config.hold.nx),
            refused: millis(config.hold.refused),
            timeout: millis(config.hold.timeout),
            other: millis(config.hold.other),
            obsolete: millis(config.hold.obsolete),
        },
    }
}

/// What a name server answered.
#[derive(Debug)]
struct Told {
    ask: Ask,
    nameserver: usize,
    answer: Result<Answer, Failure>,
}

struct Names {
    operator: Rc<Operator>,
    machine: Machine,
    sender: UnboundedSender<Told>,
}

impl Names {
    fn new(operator: Rc<Operator>, plans: Vec<SlotPlan>, sender: UnboundedSender<Told>) -> Self {
        let shared = &operator.shared;
        let sections = shared.resolvers.iter();
        let sections = sections.map(|state| section(&state.config)).collect();
        Self {
            machine: Machine::new(sections, plans, shared.clock.now()),
            operator,
            sender,
        }
    }

    async fn run(
        mut self,
        mut answers: UnboundedReceiver<Told>,
        mut errands: UnboundedReceiver<Errand>,
    ) {
        loop {
            let actions = self.machine.tick(self.now());
            self.perform(actions);
            let due = self.machine.due();
            let wait = async {
                match due {
                    Some(due) => {
                        let left = due.0.saturating_sub(self.now().0);
                        tokio::time::sleep(Duration::from_millis(left)).await;
                    }
                    None => pending().await,
                }
            };
            tokio::select! {
                () = wait => {}
                Some(errand) = errands.recv() => {
                    self.observe();
                    let actions = self.machine.run(&errand, self.now());
                    self.perform(actions);
                }
                Some(told) = answers.recv() => {
                    self.observe();
                    let Told { ask, nameserver, answer } = told;
                    let now = self.now();
                    let actions = self.machine.answered(now, &ask, nameserver, answer);
                    self.perform(actions);
                }
            }
        }
    }

    fn now(&self) -> Millis {
        self.operator.shared.clock.now()
    }

    /// Tells the machine what people made of addresses.
    fn observe(&mut self) {
        let resolved: Vec<ServerAt> = self.machine.resolved().collect();
        for at in resolved {
            if let Some((_, server)) = self.operator.server(at)
                && let ServerAddress::Inet(address) = server.address()
            {
                self.machine.observe(at, address.ip());
            }
        }
    }

    fn perform(&self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Ask(ask) => self.ask(&ask),
                Action::Change(at, effect) => self.change(at, effect),
            }
        }
    }

    /// Asks all name servers of the section.
    fn ask(&self, ask: &Ask) {
        let shared = &self.operator.shared;
        let Some(section) = shared.resolvers.get(ask.section) else {
            return;
        };
        let config = &section.config;
        // A slow answer to the first try is as good as one to the last.
        let patience = config.retry.saturating_mul(config.retries.max(1));
        for nameserver in 0..config.nameservers.len() {
            let (shared, sender, ask) = (Arc::clone(shared), self.sender.clone(), ask.clone());
            tokio::task::spawn_local(async move {
                let section = &shared.resolvers[ask.section];
                let server = &section.config.nameservers[nameserver];
                let counters = &section.nameservers[nameserver];
                counters.sent.add();
                let payload = section.config.payload;
                let outcome = exchange::ask(server, &ask.question, payload, patience).await;
                counters.ended(&outcome);
                match outcome {
                    Ok(answer) => {
                        // Nobody listens any more: the process ends.
                        let _ = sender.send(Told {
                            ask,
                            nameserver,
                            answer,
                        });
                    }
                    Err(error) => tracing::debug!(
                        resolvers = %section.config.name,
                        nameserver = %server.name,
                        question = ?ask.question,
                        %error,
                        "a name server gave no answer"
                    ),
                }
            });
        }
    }

    fn change(&self, at: ServerAt, effect: Effect) {
        let Some((backend, server)) = self.operator.server(at) else {
            return;
        };
        let name = format!("{}/{}", backend.config.name, server.config.name);
        match effect {
            Effect::Address { from, to, port, by } => {
                let ServerAddress::Inet(mut address) = server.address() else {
                    return;
                };
                address.set_ip(to);
                address.set_port(port.unwrap_or(address.port()));
                let from = from.map_or_else(|| "(none)".to_owned(), |from| from.to_string());
                let by = self.label(by);
                self.operator.change(at, &Change::Address(address));
                self.log(
                    at,
                    format!("{name} changed its IP from {from} to {to} by {by}."),
                );
            }
            Effect::Host { from, to } => {
                server.set_fqdn(to.clone());
                if let Some(to) = to {
                    let from = from.as_deref().unwrap_or("(null)");
                    let text =
                        format!("{name} changed its FQDN from {from} to {to} by 'SRV record'");
                    self.log(at, text);
                }
            }
            Effect::Weight(weight) => {
                self.operator.change(at, &Change::Weight(weight));
            }
            Effect::Down(why) => self.maintenance(at, Admin::RESOLVER_MAINT, Admin::empty(), why),
            Effect::Up { answered } => {
                self.maintenance(at, Admin::empty(), Admin::RESOLVER_MAINT, "");
                if answered {
                    let text =
                        format!("Server {name} administratively READY thanks to valid DNS answer.");
                    self.log(at, text);
                }
            }
        }
    }

    fn maintenance(&self, at: ServerAt, set: Admin, clear: Admin, why: &str) {
        let why = why.to_owned();
        self.operator.change(at, &Change::Admin { set, clear, why });
    }

    /// How log lines call the source of an address.
    fn label(&self, by: By) -> String {
        match by {
            By::Nameserver {
                section,
                nameserver,
            } => {
                let Some(state) = self.operator.shared.resolvers.get(section) else {
                    return String::new();
                };
                if let Some(counters) = state.nameservers.get(nameserver) {
                    counters.update.add();
                }
                let server = state.config.nameservers.get(nameserver);
                server.map_or_else(String::new, |server| {
                    format!("{}/{}", state.config.name, server.name)
                })
            }
            By::Cache => "DNS cache".to_owned(),
            By::Additional => "DNS additional record".to_owned(),
        }
    }

    fn log(&self, at: ServerAt, text: String) {
        self.operator.tell(at.backend, LEVEL_NOTICE, text);
    }
}

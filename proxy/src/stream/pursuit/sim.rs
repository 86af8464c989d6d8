//! Streams on their way to servers that accept, refuse, hang, reset and flap, with clients that
//! leave at any moment: the real [`Pursuit`] and the real [`Dispatcher`], driven by a clock and a
//! network that are only numbers. After every step the books are checked.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::backend::balance::{self, Ask, Member};
use crate::backend::dispatch::{Dispatcher, Grant, Limits, Ticket, Turn, Verdict, up};
use crate::backend::standing::Takes;
use crate::config::model::balance::{Algorithm as Kind, Balance};

/// How a server takes connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Accepts,
    Refuses,
    Hangs,
    /// The machine has run out of something.
    Starves,
}

const MOODS: [Mood; 4] = [Mood::Accepts, Mood::Refuses, Mood::Hangs, Mood::Starves];

/// Numbers from a seed: SplitMix64, with its published constants.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from `range`, whose end is not in it.
    fn range(&mut self, range: std::ops::Range<u32>) -> u32 {
        range.start + u32::try_from(self.next() % u64::from(range.end - range.start)).unwrap()
    }

    fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.next() % len as u64).unwrap()
    }

    /// True in so many of a hundred cases.
    fn chance(&mut self, percent: u32) -> bool {
        self.range(0..100) < percent
    }
}

/// What happens at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fact {
    Arrives,
    /// What a stream waits for; `epoch` says whether it still does.
    Answer {
        stream: usize,
        epoch: u32,
    },
    Elapses {
        stream: usize,
        epoch: u32,
    },
    Leaves {
        stream: usize,
    },
    Idles {
        stream: usize,
    },
    Ends {
        stream: usize,
        how: usize,
    },
    Mood {
        server: usize,
    },
    Flap {
        server: usize,
    },
}

#[derive(Debug)]
enum Phase {
    /// On its way: what it was told to do.
    Way(Todo),
    Data,
    Ended,
}

#[derive(Debug)]
struct Stream {
    way: Pursuit,
    phase: Phase,
    place: Option<usize>,
    ticket: Option<Ticket>,
    /// Grows with every step: older facts do not concern it any more.
    epoch: u32,
    patient: bool,
}

struct World {
    random: Dice,
    now: Instant,
    start: Instant,
    facts: BinaryHeap<Reverse<(u64, u64, Fact)>>,
    sequence: u64,
    dispatcher: Dispatcher<usize>,
    moods: Vec<Mood>,
    down: Vec<bool>,
    streams: Vec<Stream>,
    manner: Manner,
    /// Streams by how they ended.
    endings: BTreeMap<String, u32>,
    greatest: Vec<u32>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Dice(seed);
        let count = random.range(1..5);
        let kinds = [
            Kind::RoundRobin,
            Kind::LeastConn,
            Kind::StaticRr,
            Kind::Source,
            Kind::First,
            Kind::Random { draws: 2 },
        ];
        let settings = Balance {
            algorithm: kinds[random.index(kinds.len())].clone(),
            ..Balance::default()
        };
        let members = (0..count).map(|at| Member {
            id: at + 1,
            weight: 1,
        });
        let mut greatest = Vec::new();
        let recruits: Vec<_> = (0..count)
            .map(|_| {
                let most = random.chance(70).then(|| random.range(1..4));
                greatest.push(most.unwrap_or(u32::MAX));
                let limits = Limits {
                    most,
                    least: most.map_or(0, |most| random.range(1..most + 1)),
                    queue: random.chance(30).then(|| random.range(1..3)),
                };
                (limits, random.chance(20), up(1))
            })
            .collect();
        let millis = |random: &mut Dice| Duration::from_millis(random.range(50..3000).into());
        let manner = Manner {
            retries: random.range(0..4),
            redispatch: random
                .chance(50)
                .then(|| i32::try_from(random.range(0..7)).unwrap() - 3),
            connect: random.chance(90).then(|| millis(&mut random)),
            queue: random.chance(90).then(|| millis(&mut random)),
            any_server: matches!(
                settings.algorithm,
                Kind::RoundRobin | Kind::StaticRr | Kind::Random { .. }
            ),
        };
        let start = Instant::now();
        let mut world = Self {
            dispatcher: Dispatcher::new(
                balance::make(&settings, members),
                recruits,
                random.range(1..10),
                random.chance(50),
            ),
            moods: (0..count).map(|_| Mood::Accepts).collect(),
            down: vec![false; count as usize],
            random,
            now: start,
            start,
            facts: BinaryHeap::new(),
            sequence: 0,
            streams: Vec::new(),
            manner,
            endings: BTreeMap::new(),
            greatest,
        };
        for _ in 0..world.random.range(1..40) {
            let at = world.random.range(0..5000);
            world.at(at.into(), Fact::Arrives);
        }
        for server in 0..count as usize {
            for _ in 0..world.random.range(0..6) {
                let at = world.random.range(0..8000);
                world.at(at.into(), Fact::Mood { server });
            }
            for _ in 0..world.random.range(0..3) {
                let at = world.random.range(0..8000);
                world.at(at.into(), Fact::Flap { server });
            }
        }
        world
    }

    fn at(&mut self, millis: u64, fact: Fact) {
        self.sequence += 1;
        self.facts.push(Reverse((millis, self.sequence, fact)));
    }

    fn millis(&self) -> u64 {
        u64::try_from((self.now - self.start).as_millis()).unwrap()
    }

    fn after(&mut self, millis: u64, fact: Fact) {
        let at = self.millis() + millis;
        self.at(at, fact);
    }

    fn until(&mut self, at: Instant, fact: Fact) {
        let millis = u64::try_from((at - self.start).as_millis()).unwrap();
        self.at(millis.max(self.millis()), fact);
    }

    fn run(&mut self) {
        let mut steps = 0;
        while let Some(Reverse((at, _, fact))) = self.facts.pop() {
            steps += 1;
            assert!(steps < 100_000, "it goes on for ever");
            self.now = self.start + Duration::from_millis(at);
            self.happen(fact);
            self.check();
        }
        for (number, stream) in self.streams.iter().enumerate() {
            assert!(
                matches!(stream.phase, Phase::Ended),
                "stream {number} is stuck in {}",
                stream.way.state()
            );
        }
        let ended: u32 = self.endings.values().sum();
        assert_eq!(ended as usize, self.streams.len());
    }

    fn happen(&mut self, fact: Fact) {
        match fact {
            Fact::Arrives => self.arrive(),
            Fact::Answer { stream, epoch } => {
                let place = self.streams[stream].place;
                if self.waits(stream, epoch)
                    && let Some(server) = place
                {
                    let event = self.answer(server);
                    self.step(stream, event);
                }
            }
            Fact::Elapses { stream, epoch } => {
                if self.waits(stream, epoch) {
                    let event = match &self.streams[stream].phase {
                        Phase::Way(Todo::Connect(_)) => {
                            let server = self.streams[stream].place.unwrap();
                            self.failure(server, Termination::CONNECT_TIMEOUT, false)
                        }
                        _ => Event::Elapsed,
                    };
                    self.step(stream, event);
                }
            }
            Fact::Leaves { stream } => self.client(stream, Event::ClientLeft),
            Fact::Idles { stream } => {
                if !self.streams[stream].patient {
                    self.client(stream, Event::ClientIdle);
                }
            }
            Fact::Ends { stream, how } => {
                let how = [
                    Termination::NORMAL,
                    Termination::SERVER_RESET,
                    Termination::CLIENT_RESET,
                ][how];
                if matches!(self.streams[stream].phase, Phase::Data) {
                    self.end(stream, how);
                }
            }
            Fact::Mood { server } => {
                self.moods[server] = MOODS[self.random.index(MOODS.len())];
            }
            Fact::Flap { server } => self.flap(server),
        }
    }

    /// A client that leaves matters on the way; in the data phase it is an end.
    fn client(&mut self, stream: usize, event: Event) {
        match &self.streams[stream].phase {
            Phase::Way(Todo::Wait(_) | Todo::Connect(_) | Todo::Pause(_)) => {
                self.step(stream, event);
            }
            Phase::Data => self.end(stream, Termination::CLIENT_RESET),
            Phase::Way(_) => panic!("a stream stands still"),
            Phase::Ended => {}
        }
    }

    fn waits(&self, stream: usize, epoch: u32) -> bool {
        let stream = &self.streams[stream];
        stream.epoch == epoch && matches!(stream.phase, Phase::Way(_))
    }

    fn answer(&mut self, server: usize) -> Event {
        match self.moods[server] {
            Mood::Accepts | Mood::Hangs => Event::Connected,
            Mood::Refuses => self.failure(server, Termination::SERVER_REFUSED, false),
            Mood::Starves => self.failure(server, Termination::RESOURCE_CONNECTING, true),
        }
    }

    fn failure(&self, server: usize, ending: Termination, hopeless: bool) -> Event {
        Event::Failed {
            ending,
            hopeless,
            outlook: Outlook {
                servers: self.dispatcher.in_force().count(),
                up: !self.down[server],
            },
        }
    }

    fn arrive(&mut self) {
        let servers = self.moods.len();
        let wanted = self.random.chance(30).then(|| self.random.index(servers));
        let number = self.streams.len();
        self.streams.push(Stream {
            way: Pursuit::new(self.manner, wanted),
            phase: Phase::Way(Todo::Reached),
            place: None,
            ticket: None,
            epoch: 0,
            patient: self.random.chance(90),
        });
        if self.random.chance(30) {
            let millis = self.random.range(0..6000);
            self.after(millis.into(), Fact::Leaves { stream: number });
        }
        let millis = self.random.range(100..4000);
        self.after(millis.into(), Fact::Idles { stream: number });
        // Nobody stays for ever.
        self.after(60_000, Fact::Leaves { stream: number });
        let todo = self.streams[number].way.start();
        self.obey(number, todo);
    }

    fn step(&mut self, stream: usize, event: Event) {
        if !matches!(event, Event::Assigned(_)) && self.streams[stream].ticket.is_some() {
            self.leave_queue(stream);
        }
        let todo = self.streams[stream].way.on(event, self.now);
        self.obey(stream, todo);
    }

    fn obey(&mut self, number: usize, todo: Todo) {
        let now = self.now;
        self.streams[number].epoch += 1;
        let epoch = self.streams[number].epoch;
        self.streams[number].phase = Phase::Way(todo);
        let stream = number;
        match todo {
            Todo::Assign { wanted, avoid } => {
                self.free(number);
                let key = [u8::try_from(number % 251).unwrap(); 4];
                let ask = Ask {
                    key: Some(&key),
                    avoid,
                    random: self.random.next(),
                };
                let verdict = self.dispatcher.assign(wanted, &ask, number);
                let event = match verdict {
                    Verdict::Serve(server, waiter) => {
                        assert_eq!(waiter, number);
                        self.streams[number].place = Some(server);
                        Event::Assigned(server)
                    }
                    Verdict::Wait { ticket, .. } => {
                        self.streams[number].ticket = Some(ticket);
                        Event::Queued
                    }
                    Verdict::NoServer => Event::NoServer,
                    Verdict::QueueFull(server) => {
                        assert!(wanted.is_none_or(|wanted| wanted == server));
                        Event::QueueFull
                    }
                };
                let todo = self.streams[number].way.on(event, now);
                self.obey(number, todo);
                self.pump();
            }
            Todo::Wait(until) => {
                if let Some(until) = until {
                    self.until(until, Fact::Elapses { stream, epoch });
                }
            }
            Todo::Connect(until) => {
                let server = self.streams[number].place.expect("it has a place");
                if self.moods[server] != Mood::Hangs {
                    let millis = self.random.range(0..200);
                    self.after(millis.into(), Fact::Answer { stream, epoch });
                }
                if let Some(until) = until {
                    self.until(until, Fact::Elapses { stream, epoch });
                }
            }
            Todo::Pause(until) => self.until(until, Fact::Elapses { stream, epoch }),
            Todo::Reached => {
                self.streams[number].phase = Phase::Data;
                let millis = self.random.range(0..3000);
                let how = self.random.index(3);
                self.after(millis.into(), Fact::Ends { stream, how });
            }
            Todo::Over(ending) => self.end(number, ending),
        }
    }

    fn leave_queue(&mut self, stream: usize) {
        if let Some(ticket) = self.streams[stream].ticket.take() {
            self.dispatcher.abandon(ticket);
            self.pump();
        }
    }

    /// Gives its place back.
    fn free(&mut self, stream: usize) {
        if let Some(server) = self.streams[stream].place.take() {
            self.dispatcher.release(server);
            self.pump();
        }
    }

    fn end(&mut self, stream: usize, how: Termination) {
        assert!(
            !matches!(self.streams[stream].phase, Phase::Ended),
            "a stream ends twice"
        );
        self.streams[stream].phase = Phase::Ended;
        *self.endings.entry(how.to_string()).or_default() += 1;
        self.leave_queue(stream);
        self.free(stream);
    }

    fn pump(&mut self) {
        while let Some(grant) = self.dispatcher.pump() {
            self.grant(grant);
        }
    }

    fn grant(&mut self, Grant { waiter, turn }: Grant<usize>) {
        let stream = &mut self.streams[waiter];
        assert!(stream.ticket.take().is_some(), "a turn for nobody");
        match turn {
            Turn::Serve(server) => {
                assert!(stream.place.replace(server).is_none());
                self.step(waiter, Event::Assigned(server));
            }
            Turn::Again => self.step(waiter, Event::SentAway),
        }
    }

    fn flap(&mut self, server: usize) {
        self.down[server] = !self.down[server];
        let takes = if self.down[server] {
            Takes {
                weight: 0,
                // Down, or drained.
                open: self.random.chance(30),
                warm: 100,
            }
        } else {
            Takes {
                warm: u8::try_from(self.random.range(1..101)).unwrap(),
                ..up(1)
            }
        };
        for grant in self.dispatcher.set_takes(server, takes) {
            self.grant(grant);
        }
        self.pump();
    }

    /// What has to hold between any two steps.
    fn check(&mut self) {
        let (mut own, mut all) = (0, 0);
        let loads: Vec<_> = (0..self.moods.len())
            .map(|server| self.dispatcher.load(server).unwrap())
            .collect();
        let mut served = vec![0; loads.len()];
        let mut queued = vec![0; loads.len()];
        for stream in &self.streams {
            assert!(!(stream.place.is_some() && stream.ticket.is_some()));
            if let Some(server) = stream.place {
                served[server] += 1;
            }
            if let Some(ticket) = stream.ticket {
                all += 1;
                match ticket.server() {
                    Some(server) => queued[server] += 1,
                    None => own += 1,
                }
            }
            let state = stream.way.state();
            match &stream.phase {
                Phase::Way(Todo::Wait(_)) => {
                    assert_eq!(state, State::Que);
                    assert!(stream.ticket.is_some());
                }
                Phase::Way(Todo::Connect(_)) => {
                    assert_eq!(state, State::Con);
                    assert_eq!(stream.way.connection(), ConnState::Connecting);
                    assert!(stream.place.is_some());
                }
                Phase::Way(Todo::Pause(_)) => assert_eq!(state, State::Tar),
                Phase::Way(todo) => panic!("{todo:?} was not done"),
                Phase::Data => {
                    assert_eq!(state, State::Est);
                    assert!(stream.place.is_some());
                }
                Phase::Ended => {
                    assert!(stream.place.is_none() && stream.ticket.is_none());
                    assert!(matches!(state, State::Clo | State::Est), "{state}");
                }
            }
            assert!(stream.way.retries() <= self.manner.retries);
        }
        assert_eq!(self.dispatcher.queued(), (own, all));
        for (server, load) in loads.iter().enumerate() {
            assert_eq!(load.served, served[server]);
            assert_eq!(load.queued, queued[server]);
            assert!(load.served <= self.greatest[server]);
            let room = load.served < load.limit;
            assert!(
                !(own > 0 && load.usable && load.weight > 0 && room),
                "somebody waits although server {server} has room"
            );
            assert!(
                !(load.queued > 0 && room),
                "somebody waits for server {server}"
            );
        }
    }
}

/// Thousands of worlds, each from its own seed: what fails is told with it.
#[test]
fn every_stream_gets_to_one_end() {
    let mut endings: BTreeMap<String, u32> = BTreeMap::new();
    let mut streams = 0;
    for seed in 0..4000 {
        let outcome = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            world.run();
            (world.endings, world.streams.len())
        });
        let Ok((ended, count)) = outcome else {
            panic!("the world of seed {seed} failed");
        };
        streams += count;
        for (ending, count) in ended {
            *endings.entry(ending).or_default() += count;
        }
    }
    println!("{streams} streams in 4000 worlds: {endings:?}");
    // Every way to end that there is on the way was taken by many.
    for ending in [
        "--", "CD", "SD", "SC", "sC", "CC", "cC", "sQ", "CQ", "cQ", "SQ", "RC",
    ] {
        let count = endings.get(ending).copied().unwrap_or(0);
        assert!(count >= 100, "{ending}: {count}");
    }
}

proptest! {
    #[test]
    fn so_do_those_of_any_other_seed(seed in any::<u64>()) {
        World::new(seed).run();
    }
}

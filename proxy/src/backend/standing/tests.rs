//! Servers and those that track them, driven at random: whatever comes, their states agree, nothing
//! is told twice or forgotten, and checks count exactly.

use proptest::prelude::*;

use super::*;
use crate::backend::health::meter::Meter;

/// A configuration's first backend.
fn servers(lines: &str) -> Vec<model::Server> {
    let text = format!("backend b\n{lines}");
    let source = crate::config::Source::new("x.cfg", text);
    let outcome = crate::config::load(&[source], &model::Environment::default());
    let config = outcome
        .config
        .unwrap_or_else(|| panic!("{:?}", outcome.diagnostics));
    config.backends[0].servers.clone()
}

/// Servers, and what was told of each.
struct Fleet {
    standings: Vec<Standing>,
    leaders: Vec<Option<usize>>,
    news: Vec<Vec<News>>,
    now: Millis,
}

impl Fleet {
    fn new(lines: &str) -> Self {
        let servers = servers(lines);
        Self {
            standings: servers.iter().map(Standing::new).collect(),
            leaders: servers
                .iter()
                .map(|server| server.health.track.as_ref().map(|track| track.server))
                .collect(),
            news: vec![Vec::new(); servers.len()],
            now: Millis(0),
        }
    }

    fn order(&mut self, at: usize, order: Order) -> Effects {
        let leader = self.leaders[at].map(|leader| self.standings[leader].op);
        let effects = self.standings[at].obey(order, self.now, leader);
        self.news[at].extend(&effects.news);
        if let Some(order) = effects.follow {
            for follower in 0..self.leaders.len() {
                if self.leaders[follower] == Some(at) {
                    self.order(follower, order);
                }
            }
        }
        effects
    }

    fn check(&mut self, at: usize, which: Which, status: Status) -> Finding {
        let finding = self.standings[at].found(which, Verdict::new(status));
        if let Some(order) = finding.order {
            self.order(at, order);
        }
        finding
    }

    /// What always holds.
    fn agrees(&self) {
        for (at, standing) in self.standings.iter().enumerate() {
            let takes = standing.takes();
            if standing.is_in_maintenance() {
                assert_eq!(standing.op, Op::Stopped, "{at}");
            }
            assert_eq!(takes.open, standing.op != Op::Stopped, "{at}");
            if standing.is_drained() || standing.op == Op::Stopping {
                assert_eq!(takes.weight, 0, "{at}");
            }
            let Some(leader) = self.leaders[at].map(|leader| &self.standings[leader]) else {
                continue;
            };
            let has = |flag| standing.admin.contains(flag);
            assert_eq!(
                has(Admin::INHERITED_MAINT),
                leader.is_in_maintenance(),
                "{at}"
            );
            assert_eq!(has(Admin::INHERITED_DRAIN), leader.is_drained(), "{at}");
            if !standing.is_in_maintenance() {
                let down = |op| op == Op::Stopped;
                assert_eq!(down(standing.op), down(leader.op), "{at}");
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Check(bool),
    Agent(Status),
    Order(usize, Order),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let flags = [
        Admin::FORCED_MAINT,
        Admin::FORCED_DRAIN,
        Admin::RESOLVER_MAINT,
    ];
    let agents = [
        Status::L7Ok,
        Status::L7Wrong,
        Status::L4Error,
        Status::Unchanged,
    ];
    prop_oneof![
        6 => any::<bool>().prop_map(Step::Check),
        2 => prop::sample::select(agents.to_vec()).prop_map(Step::Agent),
        3 => (0..4_usize, prop::sample::select(flags.to_vec()), any::<bool>())
            .prop_map(|(at, flag, set)| Step::Order(at, if set { Order::Set(flag) } else { Order::Clear(flag) })),
        1 => prop::sample::select(vec![Op::Stopped, Op::Running, Op::Stopping])
            .prop_map(|op| Step::Order(0, Order::Op(op))),
        1 => (1..5000_u64).prop_map(Step::Wait),
    ]
}

const FLEET: &str =
    " server a 192.0.2.1:1 check rise 2 fall 3 agent-check agent-port 9 slowstart 2s
 server b 192.0.2.1:1 track a
 server c 192.0.2.1:1 track b backup
 server d 192.0.2.1:1 check track-me
";

proptest! {
    #[test]
    fn a_meter_counts_what_agrees(rise in 1..6_u32, fall in 1..6_u32, checks: Vec<bool>) {
        let mut meter = Meter::new(rise, fall);
        let mut up = true;
        // A server that was not checked yet has no credit.
        let mut against = fall - 1;
        for passed in checks {
            let before = meter;
            let moved = if passed { meter.pass() } else { meter.fail() };
            against = if passed == up { 0 } else { against + 1 };
            if against == if up { fall } else { rise } {
                up = !up;
                against = 0;
            }
            prop_assert_eq!(meter.is_up(), up);
            prop_assert_eq!(moved, meter != before);
            let (at, of) = meter.position();
            let side = if up { fall } else { rise };
            prop_assert_eq!(of, side);
            prop_assert_eq!(against, if up { fall - at } else { at });
        }
    }

    #[test]
    fn followers_agree_with_their_leaders(steps in prop::collection::vec(step(), 0..60)) {
        let mut fleet = Fleet::new(&FLEET.replace(" track-me", ""));
        // Time down, counted apart, and whether each was down.
        let mut down = [0_u64; 4];
        for step in steps {
            let before: Vec<Standing> = fleet.standings.clone();
            for news in &mut fleet.news {
                news.clear();
            }
            match step {
                Step::Check(good) => {
                    let status = if good { Status::L4Ok } else { Status::L4Error };
                    let finding = fleet.check(0, Which::Server, status);
                    let now = fleet.standings[0].check.as_ref().unwrap().meter;
                    let then = before[0].check.as_ref().unwrap().meter;
                    prop_assert_eq!(finding.counts, !good && now != then);
                    // Down only with the last check that it takes, however often it failed.
                    if !good && now.is_up() {
                        prop_assert_eq!(fleet.standings[0].op, before[0].op);
                    }
                    if good && !now.is_up() {
                        prop_assert_eq!(fleet.standings[0].op, before[0].op);
                    }
                }
                Step::Agent(status) => {
                    fleet.check(0, Which::Agent, status);
                    if !matches!(status, Status::L7Ok | Status::L7Wrong) {
                        prop_assert_eq!(fleet.standings[0].op, before[0].op);
                    }
                }
                Step::Order(at, order) => {
                    fleet.order(at, order);
                }
                Step::Wait(millis) => {
                    for (at, standing) in fleet.standings.iter().enumerate() {
                        if standing.op == Op::Stopped {
                            down[at] += millis;
                        }
                    }
                    fleet.now = Millis(fleet.now.0 + millis);
                    fleet.standings[0].warm_up(fleet.now);
                }
            }
            fleet.agrees();
            for (at, now) in fleet.standings.iter().enumerate() {
                let then = &before[at];
                let told = |is: fn(&News) -> bool| fleet.news[at].iter().filter(|n| is(n)).count();
                let went = told(|n| matches!(n, News::Down { .. } | News::EntersMaint { .. }));
                let came = told(|n| matches!(n, News::Up | News::LeavesMaint(_)));
                let (was, is) = (then.op != Op::Stopped, now.op != Op::Stopped);
                if was && !is {
                    prop_assert_eq!(went, 1, "{}: {:?}", at, fleet.news[at]);
                }
                if !was && is {
                    let stopping = told(|n| matches!(n, News::Stopping));
                    prop_assert_eq!(came + stopping, 1, "{}: {:?}", at, fleet.news[at]);
                }
                if was == is {
                    prop_assert_eq!(went, 0, "{}: {:?}", at, fleet.news[at]);
                }
                let maint = told(|n| matches!(n, News::EntersMaint { .. } | News::DownEntersMaint));
                let entered = !then.is_in_maintenance() && now.is_in_maintenance();
                prop_assert_eq!(maint, usize::from(entered));
                prop_assert_eq!(now.downtime(fleet.now), down[at]);
            }
        }
    }
}

#[test]
fn a_server_warms_up_in_steps() {
    let mut fleet =
        Fleet::new(" server a 192.0.2.1:1 weight 10 slowstart 16s check rise 1 fall 1\n");
    assert_eq!(fleet.standings[0].takes().weight, 160);
    fleet.check(0, Which::Server, Status::L4Error);
    assert_eq!(fleet.standings[0].takes().weight, 0);
    fleet.now = Millis(1000);
    assert_eq!(fleet.standings[0].op, Op::Stopped);
    let effects = fleet.order(0, Order::Op(Op::Running));
    assert!(effects.warms_up);
    let mut weights = Vec::new();
    for second in 0..=16 {
        fleet.now = Millis(1000 + second * 1000);
        let still = fleet.standings[0].warm_up(fleet.now);
        assert_eq!(still, second < 16, "{second}");
        let takes = fleet.standings[0].takes();
        weights.push(takes.weight);
        assert_eq!(u64::from(takes.warm), 100 * second / 16);
    }
    // A sixteenth at once, and one more each second.
    let expected: Vec<u32> = (1..=16).map(|part| part * 10).chain([160]).collect();
    assert_eq!(weights, expected);
    assert_eq!(fleet.standings[0].op, Op::Running);
}

#[test]
fn intervals_follow_the_meter() {
    let line = " server a 192.0.2.1:1 check inter 5s fastinter 1s downinter 9s rise 2 fall 2\n";
    let mut fleet = Fleet::new(line);
    let mut intervals = Vec::new();
    for good in [true, false, false, true, true, false, true] {
        let status = if good { Status::L4Ok } else { Status::L4Error };
        fleet.check(0, Which::Server, status);
        intervals.push(fleet.standings[0].interval(Which::Server));
    }
    assert_eq!(intervals, [5000, 1000, 9000, 1000, 5000, 1000, 5000]);
}

#[test]
fn streams_that_fail_count_as_checks() {
    let line = " server a 192.0.2.1:1 check rise 2 fall 4 observe layer4\n";
    let after = |then, passed: usize| {
        let mut fleet = Fleet::new(line);
        for _ in 0..passed {
            fleet.check(0, Which::Server, Status::L4Ok);
        }
        let finding = fleet.standings[0].observed(then, 10);
        let health = fleet.standings[0].check.as_ref().unwrap().meter.health();
        (health, finding.order.is_some())
    };
    // Full is 5, and less than 2 is down.
    assert_eq!(after(OnError::FastInter, 1), (5, false));
    assert_eq!(after(OnError::FailCheck, 1), (4, false));
    assert_eq!(after(OnError::SuddenDeath, 1), (2, false));
    assert_eq!(after(OnError::MarkDown, 1), (0, true));
    assert_eq!(after(OnError::FailCheck, 0), (0, true));
}

#[test]
fn a_disabled_server_and_its_followers_start_in_maintenance() {
    let lines = " server a 192.0.2.1:1 check disabled\n server b 192.0.2.1:1 track a\n";
    let mut fleet = Fleet::new(lines);
    fleet.agrees();
    assert!(!fleet.standings[1].takes().open);
    assert!(!fleet.standings[0].check.as_ref().unwrap().runs());
    fleet.order(0, Order::Clear(Admin::FORCED_MAINT));
    fleet.agrees();
    assert!(fleet.standings[1].takes().open);
    assert!(fleet.standings[0].check.as_ref().unwrap().runs());
    assert_eq!(fleet.standings[0].admin, Admin::CONFIG_MAINT);
}

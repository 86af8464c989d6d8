//! How evenly each balance algorithm spreads 2000 streams that stay, and how many of them get another
//! server when one leaves; next to HAProxy where its path is given.
//!
//! `cargo run -p underpass --example balance_figures [/usr/sbin/haproxy]`
//!
//! `cargo run --release -p underpass --example balance_figures costs`: how long a choice takes.
//!
//! Every stream comes from an address of its own in 127/8. HAProxy gets real connections on the
//! loopback, to servers that answer their number.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use socket2::{Domain, Socket, Type};
use underpass::backend::balance::{Algorithm, Ask, Load, Member, SCALE, make};
use underpass::config::model::Environment;
use underpass::config::model::balance::{Balance, Key};
use underpass::config::{self, Source};

/// Streams in each measurement.
const STREAMS: u32 = 2000;
/// The longest that anything of HAProxy is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// The lines of a section, as they are written in the table.
const ALGORITHMS: [&str; 14] = [
    "balance roundrobin",
    "balance static-rr",
    "balance leastconn",
    "balance first",
    "balance random(1)",
    "balance random",
    "balance source",
    "balance source; hash-type consistent",
    "balance hash src",
    "balance hash src; hash-type map-based wt6 avalanche",
    "balance hash src; hash-type consistent",
    "balance hash src; hash-type consistent djb2 avalanche",
    "balance hash src; hash-type consistent crc32",
    "balance hash src; hash-type consistent; hash-balance-factor 125",
];

/// A backend to be measured.
struct Farm {
    lines: &'static str,
    weights: Vec<u32>,
}

impl Farm {
    /// `maxconn` of its servers; without one, `first` would know a single server. When one leaves, the
    /// others have room for a quarter more than there is.
    fn limit(&self) -> Option<u32> {
        let servers = self.weights.len() as u32 - 1;
        (self.lines == "balance first").then(|| (STREAMS * 5).div_ceil(servers * 4))
    }

    /// The server that leaves.
    fn leaver(&self) -> usize {
        self.weights.len() / 2
    }

    fn section(&self) -> String {
        self.lines.replace("; ", "\n ")
    }
}

/// The servers that streams got, before and after one left.
struct Run {
    before: Vec<usize>,
    after: Vec<usize>,
}

impl Run {
    fn figures(&self, farm: &Farm) -> Figures {
        let mut counts = vec![0_f64; farm.weights.len()];
        for &at in &self.before {
            counts[at] += 1.0;
        }
        let total: u32 = farm.weights.iter().sum();
        let share = |at: usize| f64::from(STREAMS * farm.weights[at]) / f64::from(total);
        let relative: Vec<f64> = (0..counts.len()).map(|at| counts[at] / share(at)).collect();
        let variance = relative.iter().map(|x| (x - 1.0).powi(2)).sum::<f64>();
        let pairs = || self.before.iter().zip(&self.after);
        let percent = |count: usize| 100.0 * count as f64 / f64::from(STREAMS);
        Figures {
            most: relative.iter().copied().fold(0.0, f64::max),
            deviation: (variance / relative.len() as f64).sqrt(),
            moved: percent(pairs().filter(|(before, after)| before != after).count()),
            needless: percent(
                pairs()
                    .filter(|&(&before, after)| before != *after && before != farm.leaver())
                    .count(),
            ),
        }
    }

    /// How many streams got the same server in both, in percent: before one left, and after.
    fn agreement(&self, other: &Self) -> [f64; 2] {
        [(&self.before, &other.before), (&self.after, &other.after)].map(|(ours, theirs)| {
            let same = ours.iter().zip(theirs);
            let same = same.filter(|(ours, theirs)| ours == theirs).count();
            100.0 * same as f64 / f64::from(STREAMS)
        })
    }
}

struct Figures {
    /// The most that a server got, as a multiple of its share.
    most: f64,
    /// The standard deviation of what servers got, likewise.
    deviation: f64,
    /// Percent of the streams that got another server.
    moved: f64,
    /// Those of them whose server had not left.
    needless: f64,
}

/// The addresses that streams come from: all different, without an order.
fn sources() -> impl Iterator<Item = Ipv4Addr> {
    (1..=STREAMS).map(|at| Ipv4Addr::from(0x7f00_0000 | (at.wrapping_mul(0x9e_3779) & 0xff_ffff)))
}

fn settings(farm: &Farm) -> Result<Balance> {
    let text = format!("backend b\n {}\n server s 192.0.2.1:80\n", farm.section());
    let outcome = config::load(&[Source::new("farm.cfg", text)], &Environment::new());
    let config = outcome
        .config
        .ok_or_else(|| anyhow!("{:?}", outcome.diagnostics))?;
    Ok(config.backends[0].balance.clone())
}

/// The algorithm, not updated yet, and idle servers.
fn start(farm: &Farm, balance: &Balance) -> (Box<dyn Algorithm>, Vec<Load>) {
    let members = (1..).zip(&farm.weights);
    let members = members.map(|(id, &weight)| Member { id, weight });
    let load = |weight: &u32| Load {
        weight: weight * SCALE,
        usable: true,
        served: 0,
        queued: 0,
        limit: farm.limit().unwrap_or(u32::MAX),
    };
    (
        make(balance, members),
        farm.weights.iter().map(load).collect(),
    )
}

/// Our own choices.
fn ours(farm: &Farm) -> Result<Run> {
    let balance = settings(farm)?;
    let (mut algorithm, mut servers) = start(farm, &balance);
    let mut random = 0;
    let mut round = |servers: &mut [Load]| -> Result<Vec<usize>> {
        algorithm.update(servers);
        let mut chosen = Vec::new();
        for source in sources() {
            random += 1;
            let octets = source.octets();
            let ask = Ask {
                key: (!matches!(balance.key(), Key::None)).then_some(&octets[..]),
                avoid: None,
                random,
            };
            let at = algorithm
                .choose(servers, &ask)
                .context("nobody was chosen")?;
            servers[at].served += 1;
            chosen.push(at);
        }
        for load in servers {
            load.served = 0;
        }
        Ok(chosen)
    };
    let before = round(&mut servers)?;
    servers[farm.leaver()].usable = false;
    let after = round(&mut servers)?;
    Ok(Run { before, after })
}

/// Servers that say their number and keep the connection.
struct Servers {
    ports: Vec<u16>,
    held: Arc<Mutex<Vec<TcpStream>>>,
}

impl Servers {
    fn start(count: usize) -> Result<Self> {
        let held = Arc::new(Mutex::new(Vec::new()));
        let mut ports = Vec::new();
        for number in 0..count {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            ports.push(listener.local_addr()?.port());
            let held = Arc::clone(&held);
            // They end with the process.
            thread::spawn(move || {
                for stream in listener.incoming() {
                    let Ok(mut stream) = stream else { continue };
                    let _ = stream.write_all(format!("{number}\n").as_bytes());
                    held.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(stream);
                }
            });
        }
        Ok(Self { ports, held })
    }

    fn let_go(&self) {
        self.held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

/// A running HAProxy with one `listen` section per farm.
struct Haproxy {
    child: Child,
    dir: tempfile::TempDir,
    ports: Vec<u16>,
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        // It is ours, and has nothing to finish.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Haproxy {
    fn start(program: &Path, farms: &[Farm], servers: &Servers) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let socket = dir.path().join("admin");
        let mut text = format!(
            "global\n nbthread 1\n maxconn 8000\n stats socket {} level admin\ndefaults\n mode tcp\n timeout client 5m\n timeout server 5m\n timeout connect 5s\n timeout queue 5s\n maxconn 4000\n",
            socket.display()
        );
        let mut ports = Vec::new();
        for (number, farm) in farms.iter().enumerate() {
            // Free at this moment; nobody else on this machine takes it in between, or it fails.
            let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            ports.push(port);
            text += &format!(
                "listen p{number}\n bind 127.0.0.1:{port}\n {}\n",
                farm.section()
            );
            let limit = farm
                .limit()
                .map_or_else(String::new, |limit| format!(" maxconn {limit}"));
            for (at, (weight, port)) in farm.weights.iter().zip(&servers.ports).enumerate() {
                text += &format!(" server s{at} 127.0.0.1:{port} weight {weight}{limit}\n");
            }
        }
        let file = dir.path().join("haproxy.cfg");
        std::fs::write(&file, text)?;
        let child = Command::new(program)
            .arg("-db")
            .arg("-f")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let this = Self { child, dir, ports };
        until("haproxy answers", || Ok(this.command("show info").is_ok()))?;
        Ok(this)
    }

    fn command(&self, command: &str) -> Result<String> {
        let mut socket = UnixStream::connect(self.dir.path().join("admin"))?;
        writeln!(socket, "{command}")?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Living streams of a farm.
    fn streams(&self, number: usize) -> Result<u32> {
        let stat = self.command("show stat")?;
        let prefix = format!("p{number},BACKEND,");
        let line = stat.lines().find_map(|line| line.strip_prefix(&prefix));
        // qcur, qmax, scur
        let current = line.and_then(|line| line.split(',').nth(2));
        current
            .context("no such backend")?
            .parse()
            .map_err(Into::into)
    }

    /// One connection per stream; all stay until the last one is there.
    fn round(&self, number: usize, servers: &Servers) -> Result<Vec<usize>> {
        let mut held = Vec::new();
        let mut chosen = Vec::new();
        for source in sources() {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            socket.bind(&SocketAddr::new(IpAddr::V4(source), 0).into())?;
            let target = SocketAddr::from((Ipv4Addr::LOCALHOST, self.ports[number]));
            socket.connect(&target.into())?;
            let stream = TcpStream::from(socket);
            stream.set_read_timeout(Some(PATIENCE))?;
            let mut reader = BufReader::new(stream);
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let server = line.trim().parse();
            chosen.push(server.with_context(|| format!("server said {line:?}"))?);
            held.push(reader);
        }
        drop(held);
        servers.let_go();
        until("all streams have ended", || Ok(self.streams(number)? == 0))?;
        Ok(chosen)
    }

    fn run(&self, number: usize, farm: &Farm, servers: &Servers) -> Result<Run> {
        let before = self.round(number, servers)?;
        let command = format!("set server p{number}/s{} state maint", farm.leaver());
        let answer = self.command(&command)?;
        if !answer.trim().is_empty() {
            bail!("{command}: {answer}");
        }
        let after = self.round(number, servers)?;
        Ok(Run { before, after })
    }
}

/// Waits for a condition.
fn until(what: &str, mut is_true: impl FnMut() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    while !is_true()? {
        if Instant::now() > end {
            bail!("it did not come true that {what}");
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Nanoseconds per choice, and microseconds per change of one server's weight.
fn costs() -> Result<()> {
    const CHOICES: u32 = 20_000;
    const UPDATES: u32 = 50;
    println!("| algorithm | servers | weight | choice, ns | update, us |\n|---|---|---|---|---|");
    for lines in ALGORITHMS {
        for (count, weight) in [(10, 1), (100, 1), (1000, 1), (1000, 100)] {
            let farm = Farm {
                lines,
                weights: vec![weight; count],
            };
            let balance = settings(&farm)?;
            let (mut algorithm, mut servers) = start(&farm, &balance);
            algorithm.update(&servers);
            let start = Instant::now();
            for number in 0..CHOICES {
                let octets = number.wrapping_mul(0x9e37_79b9).to_be_bytes();
                let ask = Ask {
                    key: Some(&octets),
                    avoid: None,
                    random: number.into(),
                };
                algorithm
                    .choose(&servers, &ask)
                    .context("nobody was chosen")?;
            }
            let choices = start.elapsed();
            let start = Instant::now();
            for number in 0..UPDATES {
                // Nearly all of the weight, and all of it again.
                servers[count / 2].weight = weight * SCALE - number % 2;
                servers[count / 3].usable = number % 2 == 0;
                algorithm.update(&servers);
            }
            println!(
                "| `{lines}` | {count} | {weight} | {} | {} |",
                choices.as_nanos() / u128::from(CHOICES),
                start.elapsed().as_micros() / u128::from(UPDATES)
            );
        }
    }
    Ok(())
}

fn print(figures: &Figures) {
    print!(
        " {:.2} | {:.3} | {:.1} | {:.1} |",
        figures.most, figures.deviation, figures.moved, figures.needless
    );
}

fn main() -> Result<()> {
    let program = std::env::args_os().nth(1);
    if program.as_deref() == Some("costs".as_ref()) {
        return costs();
    }
    let sizes: [(&str, Vec<u32>); 4] = [
        ("3", vec![1; 3]),
        ("10", vec![1; 10]),
        ("100", vec![1; 100]),
        (
            "10, weights 1 to 5",
            [1, 2, 3, 4, 5].into_iter().cycle().take(10).collect(),
        ),
    ];
    for (name, weights) in sizes {
        let farms: Vec<Farm> = ALGORITHMS
            .into_iter()
            .map(|lines| Farm {
                lines,
                weights: weights.clone(),
            })
            .collect();
        let rival = match &program {
            None => None,
            Some(program) => {
                let servers = Servers::start(weights.len())?;
                let haproxy = Haproxy::start(Path::new(program), &farms, &servers)?;
                Some((haproxy, servers))
            }
        };
        println!("\nServers: {name}\n");
        print!("| algorithm | most | deviation | moved % | needless % |");
        if rival.is_some() {
            print!(
                " haproxy: most | deviation | moved % | needless % | same before % | same after % |"
            );
        }
        let columns = if rival.is_some() { 11 } else { 5 };
        println!("\n|{}", "---|".repeat(columns));
        for (number, farm) in farms.iter().enumerate() {
            let ours = ours(farm)?;
            print!("| `{}` |", farm.lines);
            print(&ours.figures(farm));
            if let Some((haproxy, servers)) = &rival {
                let theirs = haproxy.run(number, farm, servers);
                let theirs = theirs.with_context(|| farm.lines.to_owned())?;
                print(&theirs.figures(farm));
                let [before, after] = ours.agreement(&theirs);
                print!(" {before:.1} | {after:.1} |");
            }
            println!();
        }
    }
    Ok(())
}

//! A name server that says what the test wants, over UDP and TCP on one port.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::SRV;
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::netns::Netns;

/// How often the threads look whether the name server is to end.
const LOOK: Duration = Duration::from_millis(20);

/// Lifetime of records, seconds: long, so that whoever goes by it keeps what the test changes.
const TTL: u32 = 3600;

/// What is said of a name.
#[derive(Clone, Debug)]
enum Says {
    Records(Vec<RData>, Vec<Record>),
    Code(ResponseCode),
    Nothing,
}

/// A query that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The name, without its final dot.
    pub name: String,
    /// What was asked for.
    pub kind: RecordType,
    /// It came over TCP.
    pub tcp: bool,
}

#[derive(Default)]
struct Zone {
    names: HashMap<String, Says>,
    /// Answers over UDP are cut.
    cuts: bool,
    queries: Vec<Query>,
}

/// A record of a service.
#[derive(Clone, Copy, Debug)]
pub struct Service<'a> {
    /// The host.
    pub host: &'a str,
    /// Its port.
    pub port: u16,
    /// Its weight, 0 to 65535.
    pub weight: u16,
    /// Its address, sent along.
    pub address: Option<&'a str>,
}

/// A running name server. Dropping it closes its sockets.
pub struct Dns {
    zone: Arc<Mutex<Zone>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    address: SocketAddr,
}

impl Dns {
    /// Starts it in `ns` at `address`. It knows no name yet.
    ///
    /// # Errors
    /// When it cannot listen there.
    pub fn start(ns: &Netns, address: SocketAddr) -> Result<Self> {
        let sockets = ns.run(|| {
            let udp = UdpSocket::bind(address)?;
            udp.set_read_timeout(Some(LOOK))?;
            let tcp = TcpListener::bind(address)?;
            tcp.set_nonblocking(true)?;
            io::Result::Ok((udp, tcp))
        });
        let (udp, tcp) = sockets.with_context(|| format!("a name server at {address}"))?;
        let (zone, stop) = (Arc::default(), Arc::default());
        let by_udp = {
            let (zone, stop) = (Arc::clone(&zone), Arc::clone(&stop));
            thread::spawn(move || serve_udp(&udp, &zone, &stop))
        };
        let by_tcp = {
            let (zone, stop) = (Arc::clone(&zone), Arc::clone(&stop));
            thread::spawn(move || serve_tcp(&tcp, &zone, &stop))
        };
        Ok(Self {
            zone,
            stop,
            threads: vec![by_udp, by_tcp],
            address,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn zone(&self) -> MutexGuard<'_, Zone> {
        lock(&self.zone)
    }

    fn says(&self, name: &str, says: Says) {
        self.zone().names.insert(name.to_owned(), says);
    }

    /// A host has these addresses, of both families.
    ///
    /// # Panics
    /// When one of them is none.
    pub fn host(&self, name: &str, addresses: &[&str]) {
        let records = addresses.iter().map(|text| match text.parse() {
            Ok(IpAddr::V4(ip)) => RData::A(ip.into()),
            Ok(IpAddr::V6(ip)) => RData::AAAA(ip.into()),
            Err(_) => panic!("{text} is no address"),
        });
        self.says(name, Says::Records(records.collect(), Vec::new()));
    }

    /// A service has these records.
    ///
    /// # Panics
    /// When a name or an address is none.
    pub fn service(&self, name: &str, services: &[Service<'_>]) {
        let mut records = Vec::new();
        let mut additional = Vec::new();
        for service in services {
            let host = full(service.host);
            let srv = SRV::new(0, service.weight, service.port, host.clone());
            records.push(RData::SRV(srv));
            if let Some(address) = service.address {
                let ip = RData::A(address.parse().expect("an address"));
                additional.push(Record::from_rdata(host, TTL, ip));
            }
        }
        self.says(name, Says::Records(records, additional));
    }

    /// Questions about a name get this code.
    pub fn fails(&self, name: &str, code: ResponseCode) {
        self.says(name, Says::Code(code));
    }

    /// Questions about a name get no answer.
    pub fn is_silent(&self, name: &str) {
        self.says(name, Says::Nothing);
    }

    /// From now on answers over UDP are cut.
    pub fn cuts(&self) {
        self.zone().cuts = true;
    }

    /// The queries so far.
    #[must_use]
    pub fn queries(&self) -> Vec<Query> {
        self.zone().queries.clone()
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // Its panic has been printed.
            let _ = thread.join();
        }
    }
}

fn lock(zone: &Mutex<Zone>) -> MutexGuard<'_, Zone> {
    zone.lock().unwrap_or_else(PoisonError::into_inner)
}

fn full(name: &str) -> Name {
    let mut name = Name::from_ascii(name).expect("a name");
    name.set_fqdn(true);
    name
}

fn serve_udp(socket: &UdpSocket, zone: &Mutex<Zone>, stop: &AtomicBool) {
    let mut query = [0; 4096];
    while !stop.load(Ordering::Relaxed) {
        let Ok((length, from)) = socket.recv_from(&mut query) else {
            continue;
        };
        if let Some(answer) = answer(&query[..length], false, zone) {
            // Whoever asked may be gone.
            let _ = socket.send_to(&answer, from);
        }
    }
}

fn serve_tcp(listener: &TcpListener, zone: &Mutex<Zone>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        match listener.accept() {
            // One question per connection is what is tested.
            Ok((stream, _)) => drop(converse(stream, zone)),
            Err(_) => thread::sleep(LOOK),
        }
    }
}

fn converse(mut stream: TcpStream, zone: &Mutex<Zone>) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut query)?;
    if let Some(answer) = answer(&query, true, zone) {
        let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
        stream.write_all(&length.to_be_bytes())?;
        stream.write_all(&answer)?;
    }
    Ok(())
}

fn answer(query: &[u8], tcp: bool, zone: &Mutex<Zone>) -> Option<Vec<u8>> {
    let mut message = Message::from_vec(query).ok()?;
    let question = message.queries.first()?.clone();
    let kind = question.query_type();
    let name = question.name().to_ascii().to_ascii_lowercase();
    let name = name.strip_suffix('.').unwrap_or(&name).to_owned();
    let mut zone = lock(zone);
    zone.queries.push(Query {
        name: name.clone(),
        kind,
        tcp,
    });
    let nobody = Says::Code(ResponseCode::NXDomain);
    let says = zone.names.get(&name).cloned().unwrap_or(nobody);
    message.metadata.message_type = MessageType::Response;
    message.metadata.recursion_available = true;
    message.edns = None;
    match says {
        Says::Nothing => return None,
        Says::Code(code) => message.metadata.response_code = code,
        Says::Records(..) if zone.cuts && !tcp => message.metadata.truncation = true,
        Says::Records(records, additional) => {
            let records = records
                .into_iter()
                .filter(|data| data.record_type() == kind);
            let owner = question.name();
            message.add_answers(records.map(|data| Record::from_rdata(owner.clone(), TTL, data)));
            if kind == RecordType::SRV {
                message.add_additionals(additional);
            }
        }
    }
    message.to_vec().ok()
}

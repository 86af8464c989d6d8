//! Questions and answers as bytes.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::ProtoError;
use hickory_proto::op::{Edns, Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::question::{Answer, Failure, Kind, Question, Service};

/// Bytes of a message's header, of which the third has the truncation bit.
const HEADER: usize = 12;
const TRUNCATION: u8 = 0x02;

/// A query on its way.
#[derive(Debug)]
pub struct Sent {
    /// The message.
    pub bytes: Vec<u8>,
    id: u16,
    query: Query,
}

/// What came back.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    /// The name server's answer.
    Whole(Result<Answer, Failure>),
    /// It has more than fits.
    Truncated,
}

/// Makes the query for a question; `payload`: bytes that an answer over UDP may have.
///
/// # Errors
/// When the name is none that DNS knows.
pub fn query(question: &Question, payload: u16) -> Result<Sent, ProtoError> {
    let mut name = Name::from_ascii(&*question.name)?;
    name.set_fqdn(true);
    let query = Query::query(name, record_type(question.kind));
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(query.clone());
    let mut edns = Edns::new();
    edns.set_max_payload(payload);
    message.set_edns(edns);
    Ok(Sent {
        bytes: message.to_vec()?,
        id: message.metadata.id,
        query,
    })
}

fn record_type(kind: Kind) -> RecordType {
    match kind {
        Kind::A => RecordType::A,
        Kind::Aaaa => RecordType::AAAA,
        Kind::Srv => RecordType::SRV,
    }
}

/// Reads what came back; `None`: it does not answer this query.
#[must_use]
pub fn read(sent: &Sent, bytes: &[u8]) -> Option<Reply> {
    let id = bytes.first_chunk().map(|id| u16::from_be_bytes(*id));
    if id != Some(sent.id) || bytes.len() < HEADER {
        return None;
    }
    let Ok(message) = Message::from_vec(bytes) else {
        // Some name servers cut in the middle of a record.
        return Some(if bytes[2] & TRUNCATION != 0 {
            Reply::Truncated
        } else {
            Reply::Whole(Err(Failure::Invalid))
        });
    };
    let [query] = &message.queries[..] else {
        return None;
    };
    let answers = message.metadata.message_type == MessageType::Response
        && query.name().eq_ignore_root(sent.query.name())
        && query.query_type() == sent.query.query_type()
        && query.query_class() == sent.query.query_class();
    if !answers {
        return None;
    }
    if message.metadata.truncation {
        return Some(Reply::Truncated);
    }
    Some(Reply::Whole(match message.metadata.response_code {
        ResponseCode::NoError => records(&message, query),
        ResponseCode::NXDomain => Err(Failure::Nx),
        ResponseCode::Refused => Err(Failure::Refused),
        _ => Err(Failure::Other),
    }))
}

fn records(message: &Message, query: &Query) -> Result<Answer, Failure> {
    let names = aliases(&message.answers, query.name());
    let wanted = message
        .answers
        .iter()
        .filter(|record| is_internet(record) && names.contains(&record.name));
    let answer = if query.query_type() == RecordType::SRV {
        let services = wanted.filter_map(|record| service(record, &message.additionals));
        Answer::Services(services.collect())
    } else {
        let addresses = wanted.filter(|record| record.record_type() == query.query_type());
        Answer::Addresses(
            addresses
                .filter_map(|record| record.data.ip_addr())
                .collect(),
        )
    };
    match &answer {
        Answer::Addresses(none) if none.is_empty() => Err(Failure::Empty),
        Answer::Services(none) if none.is_empty() => Err(Failure::Empty),
        _ => Ok(answer),
    }
}

/// The name, and what it is an alias of.
fn aliases(answers: &[Record], name: &Name) -> HashSet<Name> {
    let mut names = HashSet::from([name.to_lowercase()]);
    // A chain is no longer than the answer.
    for _ in answers {
        let before = names.len();
        for record in answers {
            if let RData::CNAME(target) = &record.data
                && names.contains(&record.name)
            {
                names.insert(target.0.to_lowercase());
            }
        }
        if names.len() == before {
            break;
        }
    }
    names
}

fn is_internet(record: &Record) -> bool {
    record.dns_class == DNSClass::IN
}

fn service(record: &Record, additionals: &[Record]) -> Option<Service> {
    let RData::SRV(srv) = &record.data else {
        return None;
    };
    // The root stands for "there is no such service".
    if srv.target.is_root() {
        return None;
    }
    let of_target = |other: &&Record| is_internet(other) && other.name.eq_ignore_root(&srv.target);
    let addresses: Vec<IpAddr> = additionals
        .iter()
        .filter(of_target)
        .filter_map(|record| record.data.ip_addr())
        .collect();
    Some(Service {
        target: text(&srv.target),
        port: srv.port,
        weight: srv.weight,
        addresses,
    })
}

/// In lower case, without a final dot.
fn text(name: &Name) -> Arc<str> {
    let text = name.to_lowercase().to_ascii();
    Arc::from(text.strip_suffix('.').unwrap_or(&text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::rr::rdata::{A, AAAA, CNAME, SRV};

    fn question(name: &str, kind: Kind) -> Question {
        Question {
            name: name.into(),
            kind,
        }
    }

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn a(owner: &str, last: u8) -> Record {
        Record::from_rdata(name(owner), 60, RData::A(A::new(192, 0, 2, last)))
    }

    fn srv(owner: &str, weight: u16, port: u16, target: &str) -> Record {
        let data = SRV::new(1, weight, port, name(target));
        Record::from_rdata(name(owner), 60, RData::SRV(data))
    }

    /// The answer to `sent` that `change` makes.
    fn reply(sent: &Sent, change: impl FnOnce(&mut Message)) -> Vec<u8> {
        let mut message = Message::from_vec(&sent.bytes).unwrap();
        message.metadata.message_type = MessageType::Response;
        change(&mut message);
        message.to_vec().unwrap()
    }

    fn addresses(last: &[u8]) -> Option<Reply> {
        let ip = |last: &u8| IpAddr::from([192, 0, 2, *last]);
        let addresses = last.iter().map(ip).collect();
        Some(Reply::Whole(Ok(Answer::Addresses(addresses))))
    }

    #[test]
    fn a_query_asks_for_recursion_and_says_how_much_fits() {
        let sent = query(&question("Web.Test", Kind::Aaaa), 4096).unwrap();
        let message = Message::from_vec(&sent.bytes).unwrap();
        assert!(message.metadata.recursion_desired);
        assert_eq!(message.queries[0].name(), &name("web.test."));
        assert_eq!(message.queries[0].query_type(), RecordType::AAAA);
        assert_eq!(message.max_payload(), 4096);
    }

    #[test]
    fn addresses_of_the_name_and_of_what_it_stands_for() {
        let sent = query(&question("web.test", Kind::A), 512).unwrap();
        let cname = |owner: &str, target: &str| {
            Record::from_rdata(name(owner), 60, RData::CNAME(CNAME(name(target))))
        };
        let six = AAAA::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
        let six = Record::from_rdata(name("web.test."), 60, RData::AAAA(six));
        let bytes = reply(&sent, |message| {
            message.add_answers([
                a("c.test.", 2),
                cname("b.test.", "C.test."),
                cname("WEB.test.", "b.test."),
                a("web.test.", 1),
                a("other.test.", 3),
                six,
            ]);
        });
        assert_eq!(read(&sent, &bytes), addresses(&[2, 1]));
    }

    #[test]
    fn services_and_the_addresses_that_come_with_them() {
        let sent = query(&question("_http._tcp.test", Kind::Srv), 512).unwrap();
        let bytes = reply(&sent, |message| {
            message.add_answers([
                srv("_http._tcp.test.", 65535, 8001, "A.test."),
                srv("_http._tcp.test.", 0, 8002, "b.test."),
                srv("_http._tcp.test.", 1, 0, "."),
            ]);
            message.add_additionals([a("a.test.", 1), a("c.test.", 2)]);
        });
        let Some(Reply::Whole(Ok(Answer::Services(services)))) = read(&sent, &bytes) else {
            panic!("no services");
        };
        let seen: Vec<_> = services
            .iter()
            .map(|s| (&*s.target, s.port, s.server_weight(), s.addresses.len()))
            .collect();
        assert_eq!(seen, [("a.test", 8001, 256, 1), ("b.test", 8002, 0, 0)]);
    }

    #[test]
    fn errors() {
        let sent = query(&question("web.test", Kind::A), 512).unwrap();
        for (code, failure) in [
            (ResponseCode::NXDomain, Failure::Nx),
            (ResponseCode::Refused, Failure::Refused),
            (ResponseCode::ServFail, Failure::Other),
            (ResponseCode::NoError, Failure::Empty),
        ] {
            let bytes = reply(&sent, |message| message.metadata.response_code = code);
            assert_eq!(read(&sent, &bytes), Some(Reply::Whole(Err(failure))));
        }
        let cut = reply(&sent, |message| message.metadata.truncation = true);
        assert_eq!(read(&sent, &cut), Some(Reply::Truncated));
        // In the middle of a record.
        let mut cut = reply(&sent, |message| {
            message.metadata.truncation = true;
            message.add_answer(a("web.test.", 1));
        });
        cut.truncate(cut.len() - 14);
        assert_eq!(read(&sent, &cut), Some(Reply::Truncated));
        cut[2] &= !TRUNCATION;
        let invalid = Some(Reply::Whole(Err(Failure::Invalid)));
        assert_eq!(read(&sent, &cut), invalid);
    }

    #[test]
    fn what_answers_something_else_is_no_answer() {
        let sent = query(&question("web.test", Kind::A), 512).unwrap();
        let whole = reply(&sent, |message| {
            message.add_answer(a("web.test.", 1));
        });
        assert_eq!(read(&sent, &whole), addresses(&[1]));
        let changes: [fn(&mut Message); 5] = [
            |message| message.metadata.id = message.metadata.id.wrapping_add(1),
            |message| message.metadata.message_type = MessageType::Query,
            |message| message.queries.clear(),
            |message| {
                message.queries[0].set_name(name("web.test.x."));
            },
            |message| {
                message.queries[0].set_query_type(RecordType::AAAA);
            },
        ];
        for change in changes {
            let bytes = reply(&sent, |message| {
                message.add_answer(a("web.test.", 1));
                change(message);
            });
            assert_eq!(read(&sent, &bytes), None);
        }
        for bytes in [&whole[..0], &whole[..2], &whole[..11]] {
            assert_eq!(read(&sent, bytes), None);
        }
    }
}

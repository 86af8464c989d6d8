//! Each message by its bytes, whole and split, and what holds of all of them.

use std::fmt::Debug;
use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;

type Read<T> = fn(&[u8]) -> Result<Progress<T>, Refusal>;

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn plain(target: Target) -> Request {
    Request {
        target,
        tls: None,
        source: None,
    }
}

fn tls(verify: bool, sni: Option<&str>) -> Option<Tls> {
    let sni = sni.map(str::to_owned);
    Some(Tls { verify, sni })
}

/// A message by its parts.
fn bytes(signature: &[u8], version: u8, word: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [signature, &[version, word], &length, body].concat()
}

const V4_TARGET: &[u8] = &[1, 10, 0, 0, 1, 0, 80];
const Q: &[u8] = b"\0RTQ";
const A: &[u8] = b"\0RTA";

fn requests() -> Vec<(Request, Vec<u8>)> {
    let v4 = || Target::Inet(at("10.0.0.1:80"));
    let with = |flags, rest: &[u8]| bytes(Q, 1, flags, &[V4_TARGET, rest].concat());
    let mut v6 = vec![2];
    v6.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    v6.extend([0x01, 0xbb, 0]);
    vec![
        (plain(v4()), with(0, &[0])),
        (
            plain(Target::Inet(at("[2001:db8::1]:443"))),
            bytes(Q, 1, 0, &v6),
        ),
        (
            plain(Target::Unix("/run/x".into())),
            bytes(Q, 1, 0, b"\x03\x06/run/x\0"),
        ),
        (
            plain(Target::Name("db.example".into(), 5432)),
            bytes(Q, 1, 0, b"\x04\x0adb.example\x15\x38\0"),
        ),
        (
            Request {
                source: Some(at("192.0.2.7:4660")),
                ..plain(v4())
            },
            with(0, &[1, 192, 0, 2, 7, 0x12, 0x34]),
        ),
        (
            Request {
                tls: tls(false, None),
                ..plain(v4())
            },
            with(1, &[0]),
        ),
        (
            Request {
                tls: tls(true, None),
                ..plain(v4())
            },
            with(3, &[0]),
        ),
        (
            Request {
                tls: tls(true, Some("a.example")),
                source: Some(at("192.0.2.7:4660")),
                ..plain(v4())
            },
            with(7, b"\x09a.example\x01\xc0\0\x02\x07\x12\x34"),
        ),
    ]
}

fn answers() -> Vec<(Answer, Vec<u8>)> {
    let answer = |status, local: Option<&str>, reason: &str| Answer {
        status,
        local: local.map(at),
        reason: reason.to_owned(),
    };
    vec![
        (
            answer(Status::Connected, Some("10.0.0.9:1025"), ""),
            bytes(A, 1, 0, &[1, 10, 0, 0, 9, 4, 1, 0]),
        ),
        (
            answer(Status::Refused, None, "refused"),
            bytes(A, 1, 1, b"\0\x07refused"),
        ),
        (
            answer(Status::Unreachable, None, "no route"),
            bytes(A, 1, 2, b"\0\x08no route"),
        ),
        (answer(Status::Timeout, None, ""), bytes(A, 1, 3, &[0, 0])),
        (
            answer(Status::NotAllowed, None, ""),
            bytes(A, 1, 4, &[0, 0]),
        ),
        (
            answer(Status::BadRequest, None, "?"),
            bytes(A, 1, 5, b"\0\x01?"),
        ),
        (answer(Status::TlsFailed, None, ""), bytes(A, 1, 6, &[0, 0])),
        (answer(Status::Failed, None, ""), bytes(A, 1, 7, &[0, 0])),
    ]
}

/// Every beginning is the beginning of a message and asks for no byte behind it; what follows is not
/// touched.
fn check_splits<T: Debug + PartialEq>(read: Read<T>, expected: &T, whole: &[u8]) {
    for split in 0..whole.len() {
        match read(&whole[..split]).unwrap() {
            Progress::Partial { at_least } => {
                assert!(
                    split < at_least && at_least <= whole.len(),
                    "{split} of {whole:?}"
                );
            }
            Progress::Complete { .. } => panic!("complete at {split} of {whole:?}"),
        }
    }
    for more in [&[][..], &[0], b"data that follows"] {
        match read(&[whole, more].concat()).unwrap() {
            Progress::Complete { message, length } => {
                assert_eq!((&message, length), (expected, whole.len()));
            }
            Progress::Partial { .. } => panic!("partial: {whole:?}"),
        }
    }
}

#[test]
fn requests_are_written_and_read_however_they_are_split() {
    for (request, whole) in requests() {
        assert_eq!(request.encode(), whole, "{request:?}");
        check_splits(Request::read, &request, &whole);
    }
}

#[test]
fn answers_are_written_and_read_however_they_are_split() {
    let seen: Vec<Status> = answers().iter().map(|(answer, _)| answer.status).collect();
    assert_eq!(seen, Status::ALL);
    for (answer, whole) in answers() {
        assert_eq!(answer.encode(), whole, "{answer:?}");
        check_splits(Answer::read, &answer, &whole);
    }
}

/// A refusal comes with some byte and stays, whatever follows.
fn check_refused<T: Debug + PartialEq>(read: Read<T>, whole: &[u8], why: &str) {
    let refusal = read(whole).unwrap_err();
    assert!(refusal.to_string().contains(why), "{refusal} for {whole:?}");
    let mut refused = false;
    for split in 0..=whole.len() {
        let answer = read(&whole[..split]);
        assert!(!refused || answer.is_err(), "{split} of {whole:?}");
        assert!(!matches!(answer, Ok(Progress::Complete { .. })));
        refused = answer.is_err();
    }
    assert!(read(&[whole, b"more"].concat()).is_err());
}

#[test]
fn what_is_no_request_is_refused() {
    let with = |flags, body: &[u8]| bytes(Q, 1, flags, body);
    let v4 = |rest: &[u8]| [V4_TARGET, rest].concat();
    let long_name = [&[4, 254][..], &[b'a'; 254], &[0, 80, 0]].concat();
    let long_path = [&[3, 108][..], &[b'a'; 108], &[0]].concat();
    let mapped = [&[2][..], &[0; 10], &[0xff; 2], &[0; 4], &[0, 80, 0]].concat();
    let table: Vec<(Vec<u8>, &str)> = vec![
        (b"GET / HTTP/1.0\r\n".to_vec(), "byte 0 is 0x47"),
        (b"\0RTA\x01\0\0\x02\0\0".to_vec(), "byte 3 is 0x41"),
        (bytes(Q, 0, 0, &v4(&[0])), "version 0"),
        (bytes(Q, 2, 0, &v4(&[0])), "version 2"),
        (with(0x08, &v4(&[0])), "flags 0x08 are unknown"),
        (with(0x81, &v4(&[0])), "flags 0x81 are unknown"),
        (with(0x02, &v4(&[0])), "flags 0x02 say how"),
        (with(0x04, &v4(&[0])), "flags 0x04 say how"),
        (b"\0RTQ\x01\0\xff\xff".to_vec(), "65535 bytes follow"),
        (with(0, &[]), "ends within its target"),
        (with(0, &[1, 10, 0, 0]), "ends within its target"),
        (with(0, &V4_TARGET[..6]), "ends within its target"),
        (with(0, V4_TARGET), "ends within its source"),
        (with(0, &v4(&[1, 1, 2, 3])), "ends within its source"),
        (with(0, &v4(&[0, 0])), "1 bytes follow"),
        (with(0, &[0, 0]), "kind 0 of target"),
        (with(0, &[9, 0, 0]), "kind 9 of target"),
        (with(0, &v4(&[3])), "kind 3 of source"),
        (with(0, &[1, 10, 0, 0, 1, 0, 0, 0]), "at 10.0.0.1:0"),
        (with(0, &[1, 0, 0, 0, 0, 0, 80, 0]), "at 0.0.0.0:80"),
        (with(0, &mapped), "at [::ffff:0.0.0.0]:80"),
        (with(0, b"\x04\x01a\0\0\0"), "at a:0"),
        (with(0, b"\x03\0\0"), "target is empty"),
        (with(0, b"\x03\x02a\0\0"), "holds a NUL"),
        (with(0, &long_path), "longer than the path"),
        (with(0, b"\x04\0\0\x50\0"), "target is empty"),
        (with(0, b"\x04\x03a b\0\x50\0"), "what a host name cannot"),
        (with(0, &long_name), "longer than a host name"),
        (with(5, &v4(b"\0\0")), "server name is empty"),
        (with(5, &v4(b"\x01\xff\0")), "server name holds"),
        (with(5, &v4(b"\x05ab")), "ends within its server name"),
    ];
    for (whole, why) in table {
        check_refused(Request::read, &whole, why);
    }
}

#[test]
fn what_is_no_answer_is_refused() {
    let with = |status, body: &[u8]| bytes(A, 1, status, body);
    let table: Vec<(Vec<u8>, &str)> = vec![
        (b"HTTP/1.1 200 OK\r\n".to_vec(), "byte 0 is 0x48"),
        (bytes(Q, 1, 0, &[0, 0]), "byte 3 is 0x51"),
        (bytes(A, 9, 0, &[0, 0]), "version 9"),
        (with(8, &[0, 0]), "status 8"),
        (with(255, &[0, 0]), "status 255"),
        (b"\0RTA\x01\0\x01\x14".to_vec(), "276 bytes follow"),
        (with(0, &[]), "ends within its local address"),
        (with(0, &[0]), "ends within its reason"),
        (with(1, b"\0\x05ab"), "ends within its reason"),
        (with(1, b"\0\x01ab"), "1 bytes follow"),
        (with(1, b"\x04\0\0"), "kind 4 of local address"),
        (with(1, b"\0\x01\n"), "reason is not printable"),
        (with(1, b"\0\x01\xe9"), "reason is not printable"),
    ];
    for (whole, why) in table {
        check_refused(Answer::read, &whole, why);
    }
}

#[test]
fn only_who_speaks_the_protocol_is_answered() {
    let refusal = |bytes: &[u8]| Request::read(bytes).unwrap_err();
    assert!(!refusal(b"GET").may_be_answered());
    assert!(refusal(b"\0RTQ\x07").may_be_answered());
}

#[test]
fn reasons_are_printable_and_bounded() {
    let answer = |reason: &str| Answer {
        status: Status::Failed,
        local: Some(at("[::1]:1")),
        reason: reason.to_owned(),
    };
    let read = |answer: &Answer| match Answer::read(&answer.encode()).unwrap() {
        Progress::Complete { message, .. } => message.reason,
        Progress::Partial { .. } => panic!("partial"),
    };
    assert_eq!(read(&answer("line\nand \u{e9}")), "line_and _");
    assert_eq!(read(&answer(&"x".repeat(300))), "x".repeat(255));
}

fn address() -> impl Strategy<Value = SocketAddr> {
    (any::<std::net::IpAddr>(), 1..=u16::MAX).prop_map(SocketAddr::from)
}

fn target() -> impl Strategy<Value = Target> {
    let somewhere = |address: &SocketAddr| !address.ip().to_canonical().is_unspecified();
    prop_oneof![
        address()
            .prop_filter("somewhere", somewhere)
            .prop_map(Target::Inet),
        "/[a-z/]{0,106}".prop_map(|path| Target::Unix(path.into())),
        ("[a-z0-9_.-]{1,253}", 1..=u16::MAX).prop_map(|(name, port)| Target::Name(name, port)),
    ]
}

prop_compose! {
    fn request()(
        target in target(),
        tls in proptest::option::of(
            (any::<bool>(), proptest::option::of("[a-z.]{1,253}"))
                .prop_map(|(verify, sni)| Tls { verify, sni })
        ),
        source in proptest::option::of(address()),
    ) -> Request {
        Request { target, tls, source }
    }
}

prop_compose! {
    fn answer()(
        status in proptest::sample::select(&Status::ALL[..]),
        local in proptest::option::of(address()),
        reason in "[ -~]{0,255}",
    ) -> Answer {
        Answer { status, local, reason }
    }
}

proptest! {
    #[test]
    fn every_request_comes_back(request in request()) {
        check_splits(Request::read, &request, &request.encode());
    }

    #[test]
    fn every_answer_comes_back(answer in answer()) {
        check_splits(Answer::read, &answer, &answer.encode());
    }

    /// What is read is read the same way again, and a reader never wants more than the bound.
    #[test]
    fn damaged_requests_are_read_strictly(
        request in request(),
        at in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = request.encode();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        match Request::read(&bytes) {
            Ok(Progress::Complete { message, length }) => {
                prop_assert_eq!(&message.encode()[..], &bytes[..length]);
            }
            Ok(Progress::Partial { at_least }) => {
                prop_assert!(at_least > bytes.len() && at_least <= 1024);
            }
            Err(_) => {}
        }
    }

    #[test]
    fn any_bytes_are_judged_for_good(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        for (head, flags) in [(Q, 7), (A, 3)] {
            let whole = [head, &[1, flags, 0, 40], &bytes[..]].concat();
            let mut refused = false;
            for split in 0..=whole.len() {
                let request = Request::read(&whole[..split]).is_err();
                let answer = Answer::read(&whole[..split]).is_err();
                prop_assert!(!refused || (request && answer));
                refused = request && answer;
            }
        }
    }
}

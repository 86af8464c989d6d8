//! The checks of protocols, as scripts.

use std::sync::Arc;

use regex::bytes::{Regex, RegexBuilder};

use crate::config::model::check::{Action, Connect, Expect, Flavour, Info, Pattern, Script, Step};

use super::super::status::Status;

/// Which of them begin by saying that they connect is HAProxy's choice: its messages count steps.
fn connecting(actions: impl IntoIterator<Item = Action>) -> Script {
    let connect = Action::Connect(Connect {
        default: true,
        ..Connect::default()
    });
    script([connect].into_iter().chain(actions))
}

fn script(steps: impl IntoIterator<Item = Action>) -> Script {
    Script {
        flavour: Flavour::Protocol,
        steps: steps
            .into_iter()
            .map(|action| Step {
                action,
                comment: None,
            })
            .collect(),
    }
}

/// Ends its connection in order: servers count those that are reset against us.
fn orderly(mut script: Script) -> Script {
    if let Some(Step {
        action: Action::Connect(connect),
        ..
    }) = script.steps.first_mut()
    {
        connect.linger = true;
    }
    script
}

fn expect(expect: Expect) -> Action {
    Action::Expect(Box::new(expect))
}

fn text(text: &str) -> Option<Info> {
    Some(Info::Text(Arc::from(text)))
}

/// A regular expression over bytes.
fn regex(text: &str) -> Regex {
    RegexBuilder::new(text)
        .unicode(false)
        .build()
        .expect("the expressions of this file are good")
}

/// `option redis-check`
#[must_use]
pub fn redis() -> Script {
    script([
        Action::Send(Arc::from(&b"*1\r\n$4\r\nPING\r\n"[..])),
        expect(Expect {
            error: Status::L7Wrong,
            on_success: text("Redis server is ok"),
            on_error: Some(Info::Line(0)),
            ..Expect::new(Pattern::Text(Arc::from(&b"+PONG\r\n"[..])))
        }),
    ])
}

/// `option smtpchk`: says `hello`, and leaves.
#[must_use]
pub fn smtp(hello: &str) -> Script {
    let answer = |pattern| Expect {
        on_error: Some(Info::Line(4)),
        on_success: Some(Info::Line(4)),
        error: Status::L7Wrong,
        coded: true,
        whole_line: true,
        ..Expect::new(Pattern::Regex(regex(pattern)))
    };
    connecting([
        expect(Expect {
            min_recv: Some(4),
            whole_line: true,
            on_error: Some(Info::Line(0)),
            ..Expect::new(Pattern::Regex(regex(r"^[0-9]{3}[ \r]")))
        }),
        expect(Expect {
            min_recv: Some(4),
            ..answer(r"^2[0-9]{2}[ \r]")
        }),
        Action::Send(format!("{hello}\r\n").into_bytes().into()),
        expect(answer(r"^2[0-9]{2}[- \r]")),
        Action::Send(Arc::from(&b"QUIT\r\n"[..])),
        expect(answer(r"^2[0-9]{2}[- \r]")),
    ])
}

/// `option pgsql-check`: logs this user in, as far as the question for a password.
#[must_use]
pub fn postgresql(user: &str) -> Script {
    let mut rest = 0x0003_0000_u32.to_be_bytes().to_vec();
    rest.extend_from_slice(b"user\0");
    rest.extend_from_slice(user.as_bytes());
    rest.extend_from_slice(b"\0\0");
    let length = u32::try_from(rest.len() + 4).unwrap_or(u32::MAX);
    let mut packet = length.to_be_bytes().to_vec();
    packet.append(&mut rest);
    connecting([
        Action::Send(packet.into()),
        expect(Expect {
            unwanted: true,
            min_recv: Some(5),
            on_error: Some(Info::Chars(6)),
            ..Expect::new(Pattern::Regex(regex("^E")))
        }),
        expect(Expect {
            min_recv: Some(9),
            error: Status::L7Wrong,
            on_success: text("PostgreSQL server is ok"),
            on_error: text("PostgreSQL unknown error"),
            ..Expect::new(Pattern::HexRegex(regex(
                "^52000000[A-Z0-9]{2}000000(00|02|03|04|05|06|07|09|0A)",
            )))
        }),
    ])
}

/// `option mysql-check`; with a user, it logs in and leaves.
#[must_use]
pub fn mysql(user: Option<&str>, before_41: bool) -> Script {
    let greeting = expect(Expect::new(Pattern::MysqlGreeting));
    let Some(user) = user else {
        return orderly(connecting([greeting]));
    };
    let mut login = Vec::new();
    if before_41 {
        // Capabilities, longest packet.
        login.extend_from_slice(&[0x00, 0x80, 0x00, 0x00, 0x01]);
    } else {
        // Capabilities, longest packet, character set, and nothing.
        login.extend_from_slice(&[0x00, 0x82, 0x00, 0x00, 0x00, 0x80, 0x00, 0x01, 0x21]);
        login.extend_from_slice(&[0; 23]);
    }
    login.extend_from_slice(user.as_bytes());
    login.extend_from_slice(&[0, 0]);
    let length = u32::try_from(login.len()).unwrap_or(u32::MAX).to_le_bytes();
    let mut packet = vec![length[0], length[1], length[2], 1];
    packet.append(&mut login);
    orderly(connecting([
        Action::Send(packet.into()),
        Action::Send(Arc::from(&[1, 0, 0, 0, 1][..])),
        greeting,
        expect(Expect::new(Pattern::MysqlReply)),
    ]))
}

/// `option ldap-check`: binds as nobody.
#[must_use]
pub fn ldap() -> Script {
    let bind = [
        0x30, 0x0c, 0x02, 0x01, 0x01, 0x60, 0x07, 0x02, 0x01, 0x03, 0x04, 0x00, 0x80, 0x00,
    ];
    script([
        Action::Send(Arc::from(&bind[..])),
        expect(Expect {
            min_recv: Some(14),
            on_error: text("Not LDAPv3 protocol"),
            ..Expect::new(Pattern::HexRegex(regex("^30")))
        }),
        expect(Expect::new(Pattern::LdapBind)),
    ])
}

/// `option ssl-hello-chk`: begins a handshake of SSL 3.
#[must_use]
pub fn ssl_hello() -> Script {
    script([
        Action::SendHello,
        expect(Expect {
            min_recv: Some(5),
            ok: Status::L6Ok,
            error: Status::L6Invalid,
            timeout: Status::L6Timeout,
            ..Expect::new(Pattern::HexRegex(regex("^1[56]")))
        }),
    ])
}

/// The check that asks an agent.
#[must_use]
pub fn agent(send: Option<&Arc<[u8]>>) -> Script {
    let send = send.map(|bytes| Action::Send(Arc::clone(bytes)));
    let line = expect(Expect::new(Pattern::Agent));
    match send {
        Some(send) => script([send, line]),
        None => connecting([line]),
    }
}

/// The first message of a handshake of SSL 3, which offers every cipher of its time; `now`: seconds
/// since 1970.
#[must_use]
pub fn hello(now: u32) -> Vec<u8> {
    let mut body = vec![3, 0];
    body.extend_from_slice(&now.to_be_bytes());
    // What should be random is only a name: no key is ever made of it.
    body.extend_from_slice(b"UNDERPASS HEALTH CHECK......");
    // No session to resume.
    body.push(0);
    let ciphers: Vec<u8> = (0x01..=0x1b_u16)
        .chain(0x2f..=0x3a)
        .flat_map(u16::to_be_bytes)
        .collect();
    body.extend_from_slice(&length(ciphers.len()));
    body.extend_from_slice(&ciphers);
    // No compression.
    body.extend_from_slice(&[1, 0]);
    let mut message = vec![1, 0];
    message.extend_from_slice(&length(body.len()));
    message.append(&mut body);
    let mut record = vec![0x16, 3, 0];
    record.extend_from_slice(&length(message.len()));
    record.append(&mut message);
    record
}

fn length(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes).unwrap_or(u16::MAX).to_be_bytes()
}

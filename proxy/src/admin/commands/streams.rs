//! Streams that live: `show sess`, `shutdown session`, `shutdown sessions server`.

use super::{Answer, Words, servers, servers_show};
use crate::admin::operator::Operator;
use crate::observe::record::{Endpoint, Path, Termination};
use crate::observe::session_view::SessionView;
use crate::stream::interface::State;
use crate::stream::living::Whom;
use crate::worker::Shared;

/// A command about streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// `show sess`: a line for each.
    List,
    /// `show sess all` and `show sess <id>`: in full.
    Show(Option<u64>),
    /// `shutdown session`
    Shutdown(u64),
    /// `shutdown sessions server`
    ShutdownServer(servers::Name),
}

type Parsed = Result<super::Command, Answer>;

pub(super) fn show(words: &Words) -> Parsed {
    Ok(super::Command::Streams(match words.get(2) {
        "all" => Command::Show(None),
        // As in HAProxy, what is no number asks for the list.
        text => number(text).map_or(Command::List, |id| Command::Show(Some(id))),
    }))
}

pub(super) fn shutdown(words: &Words) -> Parsed {
    let id = number(words.get(2))
        .ok_or_else(|| Answer::error("Session pointer expected (use 'show sess').\n"))?;
    Ok(super::Command::Streams(Command::Shutdown(id)))
}

pub(super) fn shutdown_server(words: &Words) -> Parsed {
    let name = servers::name(words.get(3))?;
    Ok(super::Command::Streams(Command::ShutdownServer(name)))
}

/// A stream's number as `show sess` writes it, or without the `0x`.
fn number(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok()
}

impl Command {
    pub(super) async fn run(self, operator: &Operator) -> Answer {
        match self {
            Self::List => {
                let views = operator.sessions().await;
                Answer::Pieces(Box::new(views.into_iter().map(|view| line(&view))))
            }
            Self::Show(None) => {
                let views = operator.sessions().await;
                let shown: Vec<_> = views
                    .iter()
                    .map(|view| in_full(view, &operator.shared))
                    .collect();
                Answer::Pieces(Box::new(shown.into_iter()))
            }
            Self::Show(Some(id)) => {
                let views = operator.sessions().await;
                match views.iter().find(|view| view.id == id) {
                    Some(view) => Answer::Dump(in_full(view, &operator.shared)),
                    None => Answer::Dump("Session not found.\n".to_owned()),
                }
            }
            Self::Shutdown(id) => {
                let ended = operator.kill(Whom::Stream(id), Termination::SHUT_DOWN);
                if ended.await == 0 {
                    return Answer::error("No such session (use 'show sess').\n");
                }
                Answer::Done
            }
            Self::ShutdownServer(name) => match name.find(&operator.shared) {
                Ok(at) => {
                    operator
                        .kill(Whom::Server(at), Termination::SHUT_DOWN)
                        .await;
                    Answer::Done
                }
                Err(answer) => answer,
            },
        }
    }
}

/// HAProxy's name of what a client speaks, and its address.
fn client(endpoint: &Endpoint) -> (&'static str, String) {
    match endpoint {
        Endpoint::Inet(address) if address.is_ipv4() => ("tcpv4", address.to_string()),
        Endpoint::Inet(address) => ("tcpv6", address.to_string()),
        Endpoint::Unix => ("unix_stream", "unix".to_owned()),
    }
}

/// HAProxy's number of a state.
fn state_number(state: State) -> u8 {
    match state {
        State::Ini => 0,
        State::Req => 1,
        State::Que => 2,
        State::Tar => 3,
        State::Ass => 4,
        State::Con => 5,
        State::Cer => 6,
        State::Est => 8,
        State::Dis => 9,
        State::Clo => 10,
    }
}

/// One line: HAProxy's words where they mean something here, then ours.
fn line(view: &SessionView) -> String {
    let (proto, source) = client(&view.client);
    let name = |name: &Option<std::sync::Arc<str>>, none: &'static str| {
        name.as_deref().unwrap_or(none).to_owned()
    };
    let [up, down] = view.bytes;
    let [kernel_up, kernel_down] = view.kernel;
    let [path_up, path_down] = view.paths.map(Path::name);
    format!(
        "{:#x}: proto={proto} src={source} fe={} be={} srv={} age={} scf=[8] scb=[{}] rc={} state={} up={up} down={down} kernel={kernel_up}/{kernel_down} path={path_up}/{path_down}{}\n",
        view.id,
        view.frontend,
        name(&view.backend, "<NONE>"),
        name(&view.server, "<none>"),
        age(view.age.as_secs()),
        state_number(view.state),
        view.retries,
        view.state,
        view.ending
            .map_or(String::new(), |ending| format!(" ending={ending}")),
    )
}

/// An age as HAProxy writes it: the two greatest units.
fn age(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    if days > 0 {
        format!("{days}d{}h", hours % 24)
    } else if hours > 0 {
        format!("{hours}h{}m", minutes % 60)
    } else if minutes > 0 {
        format!("{minutes}m{}s", seconds % 60)
    } else {
        format!("{seconds}s")
    }
}

/// Several lines.
fn in_full(view: &SessionView, shared: &Shared) -> String {
    let (proto, source) = client(&view.client);
    let number = shared
        .frontends
        .iter()
        .find(|frontend| frontend.config.name == view.frontend)
        .map_or(0, |frontend| frontend.config.number);
    let mut text = format!(
        "{:#x}: id={} proto={proto} source={source}\n  conn_retries={} age={}\n  frontend={} (id={number} mode=tcp)\n",
        view.id,
        view.id,
        view.retries,
        age(view.age.as_secs()),
        view.frontend,
    );
    let place = view.place.and_then(|at| {
        let backend = shared.backends.get(at.backend)?;
        Some((backend, backend.servers.get(at.server)?))
    });
    let backend = view.backend.as_ref().and_then(|name| {
        let mut backends = shared.backends.iter();
        backends.find(|backend| backend.config.name == *name)
    });
    text.push_str(&match backend {
        Some(backend) => format!(
            "  backend={} (id={} mode=tcp)\n",
            backend.config.name, backend.config.number
        ),
        None => "  backend=<NONE> (id=-1 mode=-)\n".to_owned(),
    });
    text.push_str(&match place {
        Some((_, server)) => format!(
            "  server={} (id={}) addr={}\n",
            server.config.name,
            server.id,
            servers_show::address_text(server)
        ),
        None => "  server=<NONE> (id=-1)\n".to_owned(),
    });
    text.push_str(&format!(
        "  scf=[8] state=EST scb=[{}] state={}\n",
        state_number(view.state),
        view.state
    ));
    for (name, at) in [("req", 0), ("res", 1)] {
        text.push_str(&format!(
            "  {name}: total={} kernel={} path={}\n",
            view.bytes[at],
            view.kernel[at],
            view.paths[at].name()
        ));
    }
    if let Some(ending) = view.ending {
        text.push_str(&format!("  ending={ending}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn view() -> SessionView {
        SessionView {
            id: 0x1_0000_0000_0002,
            client: Endpoint::Inet("192.0.2.1:1024".parse().unwrap()),
            frontend: "fe".into(),
            backend: Some("be".into()),
            server: None,
            place: None,
            state: State::Que,
            age: Duration::from_secs(61),
            bytes: [5, 7],
            kernel: [0, 1],
            paths: [Path::None, Path::Redirect],
            retries: 1,
            ending: None,
        }
    }

    #[test]
    fn a_line_of_a_stream() {
        assert_eq!(
            line(&view()),
            "0x1000000000002: proto=tcpv4 src=192.0.2.1:1024 fe=fe be=be srv=<none> age=1m1s scf=[8] scb=[2] rc=1 state=QUE up=5 down=7 kernel=0/1 path=-/redirect\n"
        );
        let unix = SessionView {
            client: Endpoint::Unix,
            backend: None,
            ending: Some(Termination::SHUT_DOWN),
            ..view()
        };
        let text = line(&unix);
        assert!(
            text.contains("proto=unix_stream src=unix fe=fe be=<NONE>"),
            "{text}"
        );
        assert!(text.ends_with(" ending=K-\n"), "{text}");
    }

    #[test]
    fn numbers_are_hexadecimal() {
        assert_eq!(number("0x1000000000002"), Some(0x1_0000_0000_0002));
        assert_eq!(number("1f"), Some(0x1f));
        for wrong in ["", "0x", "x", "-1", "1ffffffffffffffff"] {
            assert_eq!(number(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn ages() {
        let table = [
            (0, "0s"),
            (59, "59s"),
            (60, "1m0s"),
            (3661, "1h1m"),
            (90_000, "1d1h"),
        ];
        for (seconds, expected) in table {
            assert_eq!(age(seconds), expected);
        }
    }
}

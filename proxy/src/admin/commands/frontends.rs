//! What changes frontends, and how much the process takes: `enable`, `disable` and `shutdown frontend`, `set maxconn`.

use super::{Answer, Severity, Words};
use crate::admin::farewell;
use crate::admin::operator::Operator;
use crate::net::valve::Order;
use crate::observe::log::LEVEL_WARNING;
use crate::worker::FrontendState;

/// A change of a frontend or of the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// `enable frontend`, `disable frontend`, `shutdown frontend`
    Turn(String, Order),
    /// `set maxconn frontend`: the number as it is written.
    Limit(String, String),
    /// `set maxconn global`: 0 is what the process started with.
    GlobalLimit(usize),
}

type Parsed = Result<super::Command, Answer>;

/// The name of a frontend at this place of a line.
fn name(words: &Words, at: usize) -> Result<String, Answer> {
    match words.get(at) {
        "" => Err(Answer::error("A frontend name is expected.\n")),
        name => Ok(name.to_owned()),
    }
}

fn turn(words: &Words, order: Order) -> Parsed {
    let name = name(words, 2)?;
    Ok(super::Command::Frontends(Command::Turn(name, order)))
}

pub(super) fn enable(words: &Words) -> Parsed {
    turn(words, Order::Open)
}

pub(super) fn disable(words: &Words) -> Parsed {
    turn(words, Order::Paused)
}

pub(super) fn shutdown(words: &Words) -> Parsed {
    turn(words, Order::Stopped)
}

pub(super) fn set_maxconn(words: &Words) -> Parsed {
    let name = name(words, 3)?;
    let number = words.get(4).to_owned();
    Ok(super::Command::Frontends(Command::Limit(name, number)))
}

pub(super) fn set_global_maxconn(words: &Words) -> Parsed {
    let text = words.get(3);
    if text.is_empty() {
        return Err(Answer::error("Expects an integer value.\n"));
    }
    let number = usize::try_from(super::number(text)).unwrap_or(0);
    Ok(super::Command::Frontends(Command::GlobalLimit(number)))
}

impl Command {
    pub(super) async fn run(self, operator: &Operator) -> Answer {
        let (name, act) = match self {
            Self::GlobalLimit(most) => return limit_process(operator, most),
            Self::Turn(name, order) => (name, Ok(order)),
            Self::Limit(name, number) => (name, Err(number)),
        };
        let mut frontends = operator.shared.frontends.iter();
        let Some(frontend) = frontends.find(|frontend| *frontend.config.name == *name) else {
            return Answer::error("No such frontend.\n");
        };
        match act {
            Ok(order) => turn_to(operator, frontend, order).await,
            Err(number) => limit(frontend, &number),
        }
    }
}

/// Opens or closes the addresses of a frontend.
async fn turn_to(operator: &Operator, frontend: &FrontendState, order: Order) -> Answer {
    let notice = |text: &str| Answer::Said(Severity::Notice, format!("{text}\n"));
    let now = if frontend.config.disabled {
        Order::Stopped
    } else {
        frontend.valve.order()
    };
    match (now, order) {
        (Order::Stopped, Order::Open) => {
            return notice("Frontend was previously shut down, cannot enable.");
        }
        (Order::Stopped, Order::Paused) => {
            return notice("Frontend was previously shut down, cannot disable.");
        }
        (Order::Stopped, Order::Stopped) => return notice("Frontend was already shut down."),
        (Order::Open, Order::Open) => return notice("All sockets are already enabled."),
        (Order::Paused, Order::Paused) => return notice("All sockets are already disabled."),
        _ => {}
    }
    frontend.valve.turn(order).await;
    let name = &frontend.config.name;
    let text = match order {
        Order::Open => format!("Resumed frontend {name}."),
        Order::Paused => format!("Paused frontend {name}."),
        Order::Stopped => {
            farewell::tell(operator, frontend);
            return Answer::Done;
        }
    };
    operator.logger.text(&frontend.logs, LEVEL_WARNING, text);
    Answer::Done
}

fn limit(frontend: &FrontendState, number: &str) -> Answer {
    if number.is_empty() {
        return Answer::error("Integer value expected.\n");
    }
    match usize::try_from(super::number(number)) {
        Ok(most) => {
            frontend.places.resize(most);
            Answer::Done
        }
        Err(_) => Answer::error("Value out of range.\n"),
    }
}

fn limit_process(operator: &Operator, most: usize) -> Answer {
    let shared = &operator.shared;
    if most > shared.most {
        return Answer::error("Value out of range.\n");
    }
    let most = if most == 0 { shared.most } else { most };
    shared.places.resize(most);
    Answer::Done
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(parse: fn(&Words) -> Parsed, line: &str) -> Result<Command, String> {
        match parse(&Words::of(line.as_bytes(), None)) {
            Ok(super::super::Command::Frontends(command)) => Ok(command),
            Err(Answer::Said(_, text)) => Err(text),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn lines_are_read() {
        let turn = Command::Turn("fe".into(), Order::Paused);
        assert_eq!(parsed(disable, "disable frontend fe"), Ok(turn));
        let nobody = Err("A frontend name is expected.\n".to_owned());
        assert_eq!(parsed(enable, "enable frontend"), nobody);
        assert_eq!(parsed(set_maxconn, "set maxconn frontend"), nobody);
        for (line, number) in [("7", 7), ("7x", 7), ("x", 0), ("-4", 0)] {
            let line = format!("set maxconn global {line}");
            let limit = Command::GlobalLimit(number);
            assert_eq!(parsed(set_global_maxconn, &line), Ok(limit), "{line}");
        }
        let nothing = Err("Expects an integer value.\n".to_owned());
        assert_eq!(parsed(set_global_maxconn, "set maxconn global"), nothing);
    }
}

//! What this machine offers for moving flows in the kernel: tried, not guessed from versions.

use std::fmt::Write as _;

use super::{redirect, relay};

/// One thing that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Its name.
    pub name: &'static str,
    /// Why it does not work; `None` if it does.
    pub obstacle: Option<String>,
}

/// Tries every engine, touching no flow.
#[must_use]
pub fn probe() -> Vec<Finding> {
    // Two flows are enough to see whether the kernel takes maps and programs.
    let redirect = redirect::engine::Engine::load(2, 1 << 20).err();
    let relay = relay::engine::Engine::load(2, None).err();
    vec![
        Finding {
            name: "buffer",
            obstacle: None,
        },
        Finding {
            name: "pipe",
            obstacle: crate::sys::pipe::pipe().err().map(|e| e.to_string()),
        },
        Finding {
            name: "redirect",
            obstacle: redirect.map(|error| format!("{error:#}")),
        },
        Finding {
            name: "relay",
            obstacle: relay.map(|error| format!("{error:#}")),
        },
    ]
}

/// The findings in words, or as one line of JSON.
#[must_use]
pub fn report(findings: &[Finding], json: bool) -> String {
    let mut out = String::new();
    if json {
        let items: Vec<String> = findings
            .iter()
            .map(|finding| {
                let obstacle = finding
                    .obstacle
                    .as_ref()
                    .map_or_else(|| "null".to_owned(), |text| format!("\"{}\"", escape(text)));
                format!("{{\"path\":\"{}\",\"obstacle\":{obstacle}}}", finding.name)
            })
            .collect();
        return format!("[{}]\n", items.join(","));
    }
    for finding in findings {
        // Writing to a string cannot fail.
        let _ = match &finding.obstacle {
            None => writeln!(out, "{:<10} available", finding.name),
            Some(why) => writeln!(out, "{:<10} unavailable: {why}", finding.name),
        };
    }
    out
}

fn escape(text: &str) -> String {
    text.chars()
        .flat_map(|c| match c {
            '"' | '\\' => vec!['\\', c],
            c if c.is_control() => vec![' '],
            c => vec![c],
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn obstacles_are_one_line_of_json() {
        let findings = [Finding {
            name: "redirect",
            obstacle: Some("a \"b\"\nc".into()),
        }];
        assert_eq!(
            report(&findings, true),
            "[{\"path\":\"redirect\",\"obstacle\":\"a \\\"b\\\" c\"}]\n"
        );
    }
}

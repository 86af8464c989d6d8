//! Cuts what a client sends into commands, without any I/O.
//!
//! A command ends at the end of its line or at a `;` that no backslash stands before. A line that
//! ends with the word `<<` takes the lines below it, up to an empty one, as its payload.

/// What a client has sent.
#[derive(Debug)]
pub(super) struct Lines {
    buffer: Vec<u8>,
    /// The command whose payload is being collected, and the payload.
    open: Option<(Vec<u8>, Vec<u8>)>,
    most: usize,
}

/// What was found in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A command, and its payload if it has one.
    Command(Vec<u8>, Option<Vec<u8>>),
    /// A line of a payload, which goes on.
    PayloadLine,
    /// Nothing whole.
    Nothing,
    /// A command that is longer than allowed.
    TooLong,
}

const PAYLOAD_MARK: &[u8] = b"<<";

impl Lines {
    /// Nothing yet. `most`: the longest command in bytes, with its payload.
    pub(super) fn new(most: usize) -> Self {
        Self {
            buffer: Vec::new(),
            open: None,
            most,
        }
    }

    /// The client has sent this.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether nothing was begun.
    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty() && self.open.is_none()
    }

    /// Takes the next thing out.
    pub(super) fn take(&mut self) -> Found {
        let held = self
            .open
            .as_ref()
            .map_or(0, |(command, payload)| command.len() + payload.len());
        let Some(end) = self.end() else {
            return if held + self.buffer.len() >= self.most {
                Found::TooLong
            } else {
                Found::Nothing
            };
        };
        if held + end >= self.most {
            return Found::TooLong;
        }
        let is_line = self.buffer[end] == b'\n';
        let mut text: Vec<u8> = self.buffer.drain(..=end).collect();
        text.pop();
        if is_line && text.last() == Some(&b'\r') {
            text.pop();
        }
        if let Some((command, mut payload)) = self.open.take() {
            if text.is_empty() {
                return Found::Command(command, Some(payload));
            }
            payload.extend_from_slice(&text);
            payload.push(b'\n');
            self.open = Some((command, payload));
            return Found::PayloadLine;
        }
        match text.strip_suffix(PAYLOAD_MARK) {
            Some(command) if is_line && command.last().is_none_or(|last| b" \t".contains(last)) => {
                self.open = Some((command.to_vec(), Vec::new()));
                Found::PayloadLine
            }
            _ => Found::Command(text, None),
        }
    }

    /// Where the next command or line of a payload ends.
    fn end(&self) -> Option<usize> {
        if self.open.is_some() {
            return self.buffer.iter().position(|byte| *byte == b'\n');
        }
        let mut escaped = false;
        self.buffer.iter().position(|byte| {
            let ends = *byte == b'\n' || (*byte == b';' && !escaped);
            escaped = *byte == b'\\' && !escaped;
            ends
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8]) -> Lines {
        let mut lines = Lines::new(64);
        lines.push(text);
        lines
    }

    fn command(text: &str) -> Found {
        Found::Command(text.into(), None)
    }

    #[test]
    fn commands_end_at_lines_and_semicolons() {
        let mut lines = lines(b"show info;show stat\r\n;;help");
        for expected in ["show info", "show stat", "", ""] {
            assert_eq!(lines.take(), command(expected));
        }
        assert_eq!(lines.take(), Found::Nothing);
        assert!(!lines.is_empty());
        lines.push(b"\n");
        assert_eq!(lines.take(), command("help"));
        assert_eq!(lines.take(), Found::Nothing);
        assert!(lines.is_empty());
    }

    #[test]
    fn a_backslash_keeps_a_semicolon_and_itself() {
        let mut lines = lines(b"a\\;b;c\\\\;d\n");
        for expected in ["a\\;b", "c\\\\", "d"] {
            assert_eq!(lines.take(), command(expected));
        }
    }

    #[test]
    fn a_payload_goes_to_an_empty_line() {
        let mut lines = lines(b"set x <<\na;b\nc<<\n\nshow info\n");
        assert_eq!(lines.take(), Found::PayloadLine);
        assert_eq!(lines.take(), Found::PayloadLine);
        assert_eq!(lines.take(), Found::PayloadLine);
        let payload = Some(b"a;b\nc<<\n".to_vec());
        assert_eq!(lines.take(), Found::Command(b"set x ".to_vec(), payload));
        assert_eq!(lines.take(), command("show info"));
    }

    #[test]
    fn the_mark_of_a_payload_stands_alone() {
        let mut lines = lines(b"set x<<\nset y << z\n");
        assert_eq!(lines.take(), command("set x<<"));
        assert_eq!(lines.take(), command("set y << z"));
    }

    #[test]
    fn what_is_too_long_is_found_before_and_after_its_end() {
        let long = [b'a'; 64];
        assert_eq!(lines(&long).take(), Found::TooLong);
        assert_eq!(lines(&[&long[..], b"\n"].concat()).take(), Found::TooLong);
        assert_eq!(
            lines(&[&long[..63], b"\n"].concat()).take(),
            Found::Command(long[..63].to_vec(), None)
        );
        let mut payload = lines(b"set x <<\n");
        assert_eq!(payload.take(), Found::PayloadLine);
        payload.push(&long[..58]);
        assert_eq!(payload.take(), Found::TooLong);
    }
}

//! The words of a command.

/// The words of a command, and its payload.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Words {
    words: Vec<String>,
    /// What stood below `<<`.
    pub payload: Option<String>,
}

/// More words than this are not looked at.
const MOST: usize = 64;

impl Words {
    /// Splits a command at spaces and tabs. A backslash takes the meaning of what stands behind it.
    #[must_use]
    pub fn of(line: &[u8], payload: Option<Vec<u8>>) -> Self {
        // As in HAProxy, whose texts end there.
        let end = line.iter().position(|byte| *byte == 0);
        let text = String::from_utf8_lossy(&line[..end.unwrap_or(line.len())]);
        let mut words = Vec::new();
        let mut word: Option<String> = None;
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            match character {
                ' ' | '\t' => words.extend(word.take()),
                '\\' => {
                    let word = word.get_or_insert_default();
                    word.extend(characters.next());
                }
                other => word.get_or_insert_default().push(other),
            }
        }
        words.extend(word);
        words.truncate(MOST);
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self {
            words,
            payload: payload.map(text),
        }
    }

    /// The word at a place; empty where there is none.
    #[must_use]
    pub fn get(&self, at: usize) -> &str {
        self.words.get(at).map_or("", String::as_str)
    }

    /// The words from a place on.
    #[must_use]
    pub fn from(&self, at: usize) -> &[String] {
        self.words.get(at..).unwrap_or_default()
    }

    /// How many of these words it begins with.
    #[must_use]
    pub fn common(&self, with: &[&str]) -> usize {
        let pairs = self.words.iter().zip(with);
        pairs.take_while(|(word, other)| word == other).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        Words::of(line.as_bytes(), None).from(0).to_vec()
    }

    #[test]
    fn words_and_escapes() {
        assert_eq!(words("  show \t info  "), ["show", "info"]);
        assert_eq!(words(r"key a\ b\;c\\d"), ["key", r"a b;c\d"]);
        assert_eq!(words(r"\ "), [" "]);
        assert_eq!(words(r"end\"), ["end"]);
        assert_eq!(words(" \t"), [""; 0]);
    }

    #[test]
    fn what_is_no_text_is_a_word_all_the_same() {
        assert_eq!(Words::of(b"a \xff", None).from(0).len(), 2);
        assert_eq!(words("a b\0c d"), ["a", "b"]);
        assert_eq!(words(&"a ".repeat(100)).len(), MOST);
    }

    #[test]
    fn places() {
        let words = Words::of(b"show stat x", None);
        assert_eq!(words.get(1), "stat");
        assert_eq!(words.get(3), "");
        assert_eq!(words.from(4), &[] as &[String]);
        assert_eq!(words.common(&["show", "stat"]), 2);
        assert_eq!(words.common(&["show", "info"]), 1);
    }
}

//! `alpn`: protocol names.

/// Longest protocol name: its length is one byte on the wire.
const MAX_NAME: usize = 255;

/// Longest list on the wire, each name with its length byte.
const MAX_LIST: usize = 65_535;

/// Reads a comma-separated list.
///
/// # Errors
/// A sentence: an empty name, or one too long.
pub(crate) fn read(text: &str) -> Result<Vec<Vec<u8>>, String> {
    let names: Vec<Vec<u8>> = text
        .split(',')
        .map(|name| name.as_bytes().to_vec())
        .collect();
    if names.iter().any(Vec::is_empty) {
        return Err(format!("an empty protocol name in '{text}'"));
    }
    if let Some(long) = names.iter().find(|name| name.len() > MAX_NAME) {
        return Err(format!(
            "a protocol name of {} bytes is longer than {MAX_NAME}",
            long.len()
        ));
    }
    if names.iter().map(|name| name.len() + 1).sum::<usize>() > MAX_LIST {
        return Err(format!("the list is longer than {MAX_LIST} bytes"));
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_protocols() {
        assert_eq!(
            read("h2,http/1.1").unwrap(),
            [b"h2".to_vec(), b"http/1.1".to_vec()]
        );
        let longest = "x".repeat(MAX_NAME);
        assert!(read(&longest).is_ok());
        for text in ["", "h2,", "h2,,x", &format!("{longest}x")] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}

//! Configuration files and directories to [`Source`]s.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::Source;

/// A file or directory that cannot be read.
#[derive(Debug, Error)]
#[error("Could not open configuration file {} : {source}", path.display())]
pub struct ReadError {
    /// Which.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// Reads files in the order given; a directory stands for its visible `*.cfg` files in byte order.
///
/// # Errors
/// Every path that cannot be read, so that one run shows them all.
pub fn read(paths: &[PathBuf]) -> Result<Vec<Source>, Vec<ReadError>> {
    let mut sources = Vec::new();
    let mut errors = Vec::new();
    for path in paths {
        match expand(path) {
            Ok(files) => {
                for file in files {
                    match fs::read(&file) {
                        Ok(text) => sources.push(Source::new(file.to_string_lossy(), text)),
                        Err(source) => errors.push(ReadError { path: file, source }),
                    }
                }
            }
            Err(source) => errors.push(ReadError {
                path: path.clone(),
                source,
            }),
        }
    }
    if errors.is_empty() {
        Ok(sources)
    } else {
        Err(errors)
    }
}

fn expand(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        let wanted = name.ends_with(b".cfg") && !name.starts_with(b".");
        if wanted && fs::metadata(entry.path())?.is_file() {
            files.push(entry.path());
        }
    }
    files.sort_unstable();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(sources: &[Source], root: &Path) -> Vec<String> {
        let root = format!("{}/", root.display());
        sources
            .iter()
            .map(|s| s.name.trim_start_matches(&root).to_owned())
            .collect()
    }

    #[test]
    fn directories_give_their_cfg_files_in_order() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.cfg", "a.cfg", "c.txt", ".hidden.cfg", "z"] {
            fs::write(dir.path().join(name), name).unwrap();
        }
        fs::create_dir(dir.path().join("d.cfg")).unwrap();
        let paths = [dir.path().join("z"), dir.path().to_owned()];
        let sources = read(&paths).unwrap();
        assert_eq!(names(&sources, dir.path()), ["z", "a.cfg", "b.cfg"]);
        assert_eq!(sources[1].text, b"a.cfg");
    }

    #[test]
    fn every_unreadable_path_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        let paths = [dir.path().join("x"), dir.path().join("y")];
        let errors = read(&paths).unwrap_err();
        assert_eq!(errors.len(), 2);
        assert!(errors[1].to_string().contains("y"));
    }
}

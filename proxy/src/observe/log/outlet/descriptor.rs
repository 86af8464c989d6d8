//! Lines into a descriptor that the process was given: a pipe, a file, a terminal.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, RawFd};

use super::backlog::Backlog;
use crate::sys::fd;

/// What a pipe takes as a whole when it can be written to. Others may use it too, so that its mode
/// is left alone: a write of no more than this does not wait.
const PIPE_BUF: usize = 4096;

/// A write into a file, which never waits.
const FILE_CHUNK: usize = 64 << 10;

/// A descriptor that the process was given.
#[derive(Debug)]
pub(super) struct Descriptor {
    number: RawFd,
    file: Option<File>,
    chunk: usize,
}

impl Descriptor {
    /// What is open under this number.
    pub(super) fn new(number: RawFd) -> Self {
        Self {
            number,
            file: None,
            chunk: PIPE_BUF,
        }
    }

    /// Writes what can be written now; gives how many lines were lost.
    pub(super) fn flush(&mut self, backlog: &mut Backlog) -> u64 {
        // A closed output has no reader who would miss anything.
        self.write(backlog).unwrap_or_else(|_| backlog.clear())
    }

    fn write(&mut self, backlog: &mut Backlog) -> io::Result<u64> {
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let file = File::from(fd::duplicate(self.number)?);
                if file.metadata().is_ok_and(|data| data.is_file()) {
                    self.chunk = FILE_CHUNK;
                }
                none.insert(file)
            }
        };
        while let Some(chunk) = backlog.chunk(self.chunk) {
            if !fd::is_writable(file.as_fd()) {
                break;
            }
            let chunk = &chunk[..chunk.len().min(self.chunk)];
            match file.write(chunk) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => backlog.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(0)
    }
}

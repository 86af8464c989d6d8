//! Memory shared with the kernel: the values of a memory-mapped BPF array.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

/// Whether user space may write the mapped values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Only the kernel writes them.
    ReadOnly,
    /// User space writes them.
    ReadWrite,
}

/// The values of a `BPF_F_MMAPABLE` array, as words that the kernel may change at any time.
///
/// `T` says how many words a value has; it must consist of u64 fields alone.
#[derive(Debug)]
pub struct MappedArray<T> {
    base: NonNull<AtomicU64>,
    bytes: usize,
    entries: usize,
    access: Access,
    value: PhantomData<T>,
}

// SAFETY: the memory is only ever accessed through atomics, and unmapped once, by the owner.
unsafe impl<T> Send for MappedArray<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for MappedArray<T> {}

impl<T> MappedArray<T> {
    /// Words per value.
    const WORDS: usize = size_of::<T>() / 8;

    /// Maps all `entries` values of the array behind `fd`.
    ///
    /// # Errors
    /// What the kernel says: a map without the flag cannot be mapped.
    pub fn new(fd: BorrowedFd<'_>, entries: usize, access: Access) -> io::Result<Self> {
        assert!(size_of::<T>().is_multiple_of(8) && Self::WORDS > 0);
        let bytes = entries * size_of::<T>();
        let prot = match access {
            Access::ReadOnly => libc::PROT_READ,
            Access::ReadWrite => libc::PROT_READ | libc::PROT_WRITE,
        };
        // SAFETY: a fresh shared mapping at an address of the kernel's choice touches nothing that
        // exists; the kernel refuses a length beyond the map's values.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                prot,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self {
            base,
            bytes,
            entries,
            access,
            value: PhantomData,
        })
    }

    /// Number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries
    }

    /// Whether there is no value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    fn word(&self, index: usize, word: usize) -> &AtomicU64 {
        assert!(index < self.entries && word < Self::WORDS);
        // SAFETY: within the mapping by the assertion.
        let at = unsafe { self.base.add(index * Self::WORDS + word) };
        // SAFETY: aligned because the mapping starts on a page and values are whole words, alive
        // as long as `self`, and only accessed atomically.
        unsafe { at.as_ref() }
    }

    /// Reads the word at byte `offset` (an `offset_of!`) of value `index`.
    #[must_use]
    pub fn load(&self, index: usize, offset: usize) -> u64 {
        self.word(index, offset / 8).load(Ordering::Acquire)
    }

    /// Writes the word at byte `offset` (an `offset_of!`) of value `index`.
    ///
    /// # Panics
    /// When the array was mapped read-only.
    pub fn store(&self, index: usize, offset: usize, value: u64) {
        assert_eq!(self.access, Access::ReadWrite);
        self.word(index, offset / 8).store(value, Ordering::SeqCst);
    }
}

impl<T> MappedArray<T> {
    /// Changes the word at byte `offset` of value `index` from `old` to `new`.
    ///
    /// # Errors
    /// What it is instead, when somebody else has changed it.
    ///
    /// # Panics
    /// When the array was mapped read-only.
    pub fn swap(&self, index: usize, offset: usize, old: u64, new: u64) -> Result<(), u64> {
        assert_eq!(self.access, Access::ReadWrite);
        self.word(index, offset / 8)
            .compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst)
            .map(drop)
    }
}

impl<T> Drop for MappedArray<T> {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping that `new` made; no reference into it outlives `self`.
        let result = unsafe { libc::munmap(self.base.as_ptr().cast(), self.bytes) };
        debug_assert_eq!(result, 0);
    }
}

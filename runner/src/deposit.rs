//! What a runner process leaves behind however it dies: the count of requests it has sent, in a small file that it
//! maps into memory. Its parent reads the file once the process is gone, so that the report can bound what was lost.
//! Never holds anything but counters. Start at [`Deposit::create`] (the process) and [`read`] (its parent).

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use tempfile::TempDir;

use crate::ffi::SharedWords;

const MAGIC: u64 = u64::from_be_bytes(*b"aiotsent");
const VERSION: u64 = 1;
const WORDS: usize = 3;
const BYTES: usize = WORDS * size_of::<u64>();
const SENT: usize = 2;

/// Why a deposit cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be made or mapped by the process that counts.
    #[error("failed to create the deposit `{}`", path.display())]
    Create {
        /// Where it should lie.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not there or not readable.
    #[error("failed to read the deposit `{}`", path.display())]
    Read {
        /// Where it should lie.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is something else: wrong length or first word, or a later version's.
    #[error("`{}` is no deposit of version {VERSION}", path.display())]
    Foreign {
        /// The file that was read.
        path: PathBuf,
    },
}

/// A file system in memory, which every Linux has and every container gets.
const IN_MEMORY: &str = "/dev/shm";

/// A new folder for deposits, in memory where that can be: while a page of a file on a disk is being written back, the
/// store of a count would wait for the disk, and with it every call of the process.
pub(crate) fn folder() -> io::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("aiotest-");
    builder.tempdir_in(IN_MEMORY).or_else(|_| builder.tempdir())
}

/// A runner process' own deposit.
pub struct Deposit {
    words: SharedWords,
}

impl Deposit {
    /// Makes the file anew at `path`, with a count of zero, and keeps it mapped.
    pub fn create(path: &Path) -> Result<Self, Error> {
        let attempt = || -> io::Result<SharedWords> {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
            file.set_len(BYTES as u64)?;
            SharedWords::map(&file)
        };
        let words = attempt().map_err(|source| Error::Create { path: path.to_owned(), source })?;
        words.word(1).store(VERSION, Ordering::Relaxed);
        // Last, so that a file without it is seen as unfinished.
        words.word(0).store(MAGIC, Ordering::Release);
        Ok(Self { words })
    }

    /// Sets the count of requests sent since the process started. Costs one store to memory.
    pub fn store_sent(&self, total: u64) {
        self.words.word(SENT).store(total, Ordering::Relaxed);
    }
}

/// The requests that the process which made the deposit at `path` had sent when it last ran.
pub fn read(path: &Path) -> Result<u64, Error> {
    let bytes = fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let word = |index: usize| {
        bytes.get(index * 8..(index + 1) * 8).and_then(|word| word.try_into().ok()).map(u64::from_ne_bytes)
    };
    match (word(0), word(1), word(SENT)) {
        (Some(MAGIC), Some(VERSION), Some(sent)) if bytes.len() == BYTES => Ok(sent),
        _ => Err(Error::Foreign { path: path.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_outlives_the_mapping() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deposit");
        let deposit = Deposit::create(&path).unwrap();
        assert_eq!(read(&path).unwrap(), 0);
        deposit.store_sent(41);
        deposit.store_sent(42);
        assert_eq!(read(&path).unwrap(), 42, "while it is mapped");
        drop(deposit);
        assert_eq!(read(&path).unwrap(), 42, "and afterwards");
    }

    #[test]
    fn no_disk_is_waited_for_at_a_count() {
        const TMPFS: u64 = 0x0102_1994;
        let folder = folder().unwrap();
        let told = rustix::fs::statfs(folder.path()).unwrap();
        assert_eq!(u64::try_from(told.f_type).unwrap(), TMPFS, "{}", folder.path().display());
    }

    #[test]
    fn a_new_incarnation_starts_at_zero() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deposit");
        Deposit::create(&path).unwrap().store_sent(7);
        let _second = Deposit::create(&path).unwrap();
        assert_eq!(read(&path).unwrap(), 0);
    }

    #[test]
    fn another_file_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("other");
        for content in [&b""[..], b"short", &[0; BYTES], &[0; 4096]] {
            fs::write(&path, content).unwrap();
            let error = read(&path).unwrap_err();
            assert!(matches!(error, Error::Foreign { .. }) && error.to_string().contains("other"), "{error}");
        }
        assert!(matches!(read(&folder.path().join("absent")), Err(Error::Read { .. })));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_in_its_place_are_more_than_a_foreign_file(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..40)) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("deposit");
            fs::write(&path, &bytes).unwrap();
            let foreign = matches!(read(&path), Err(Error::Foreign { .. }));
            proptest::prop_assert!(foreign);
        }
    }
}

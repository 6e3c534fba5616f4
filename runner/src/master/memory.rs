//! What survives the death of this process: the state machine's checkpoint and what became of its result, in one file
//! that is replaced as a whole. Never decides when to write; see [`super::desk`]. Start at [`Memory::write`].

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use aiotest_core::master::Checkpoint;
use aiotest_core::wall::WallClock;
use serde::{Deserialize, Serialize};

const FILE: &str = "checkpoint.json";
/// Beside it until it is whole.
const UNFINISHED: &str = "checkpoint.json.new";

/// The file's content.
#[derive(Serialize, Deserialize)]
pub(super) struct Remembered {
    /// The time of day at the clock's zero. It goes on over a restart by the node's clock.
    pub(super) wall: WallClock,
    /// The report is in its reader's hands.
    pub(super) acknowledged: bool,
    pub(super) checkpoint: Checkpoint,
}

/// A directory with at most one checkpoint.
#[derive(Debug)]
pub(super) struct Memory {
    directory: PathBuf,
    /// Of the last write; so that a full disk is told once.
    failed: bool,
}

impl Memory {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory, failed: false }
    }

    /// What the last life of this master wrote; `None` if there was none. What cannot be read is told and left.
    pub(super) fn read(&self) -> Option<Remembered> {
        let path = self.directory.join(FILE);
        let content = match fs::read(&path) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => return self.useless(&error.to_string()),
        };
        match serde_json::from_slice(&content) {
            Ok(remembered) => Some(remembered),
            Err(error) => self.useless(&error.to_string()),
        }
    }

    /// Says that there is a checkpoint and that it is not gone on from.
    pub(super) fn useless<T>(&self, why: &str) -> Option<T> {
        let path = self.directory.join(FILE);
        crate::complain(&format!("ignoring the checkpoint `{}`: {why}", path.display()));
        None
    }

    /// Replaces what is there, durably. Where that fails it is told, and the run goes on without.
    pub(super) fn write(&mut self, remembered: &Remembered) {
        let outcome = self.replace(remembered);
        if let Err(error) = &outcome
            && !self.failed
        {
            let directory = self.directory.display();
            crate::complain(&format!(
                "failed to write the checkpoint in `{directory}`, so a restarted master would have to learn \
                 everything from its runners: {error}"
            ));
        }
        self.failed = outcome.is_err();
    }

    fn replace(&self, remembered: &Remembered) -> io::Result<()> {
        fs::create_dir_all(&self.directory)?;
        let unfinished = self.directory.join(UNFINISHED);
        let mut file = File::create(&unfinished)?;
        file.write_all(&serde_json::to_vec(remembered)?)?;
        file.sync_all()?;
        fs::rename(&unfinished, self.directory.join(FILE))?;
        sync(&self.directory)
    }
}

/// Makes a rename in `directory` last.
fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use aiotest_core::master::Master as Core;
    use aiotest_core::run::ClassSpec;
    use aiotest_core::tick::Tick;
    use serde_json::json;

    use super::*;

    fn remembered() -> Remembered {
        let spec = serde_json::from_value(json!({
            "run": {"id": "a", "name": "quickstart"}, "load": "shape", "runners": 1, "processes_per_runner": 1,
            "aiotestfile": "aiotestfile.py",
        }))
        .unwrap();
        let core = Core::new(spec, vec![ClassSpec { name: "TestShop".into(), weight: 1 }], 7).unwrap();
        let checkpoint = core.checkpoint(Tick::from_micros(5));
        Remembered { wall: WallClock { zero: 9 }, acknowledged: true, checkpoint }
    }

    #[test]
    fn what_was_written_last_is_read_and_nothing_lies_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let mut memory = Memory::new(directory.path().join("state"));
        assert!(memory.read().is_none());
        memory.write(&Remembered { acknowledged: false, ..remembered() });
        memory.write(&remembered());
        let read = memory.read().unwrap();
        assert_eq!((read.wall.zero, read.acknowledged), (9, true));
        assert_eq!(read.checkpoint.at(), Tick::from_micros(5));
        assert_eq!(fs::read_dir(directory.path().join("state")).unwrap().count(), 1);
    }

    #[test]
    fn half_a_file_or_no_directory_is_no_end_of_the_world() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(FILE), b"{\"wall\": {\"zero\": 9}, \"ackno").unwrap();
        assert!(Memory::new(directory.path().to_owned()).read().is_none());
        let mut nowhere = Memory::new(directory.path().join(FILE));
        nowhere.write(&remembered());
        assert!(nowhere.failed && nowhere.read().is_none());
    }

    #[test]
    fn no_bytes_in_its_place_are_more_than_no_checkpoint() {
        let directory = tempfile::tempdir().unwrap();
        let mut memory = Memory::new(directory.path().to_owned());
        memory.write(&remembered());
        let good: &'static [u8] = fs::read(directory.path().join(FILE)).unwrap().leak();
        let corpus: &'static [&'static [u8]] = vec![good].leak();
        let tokens: &[&[u8]] =
            &[b"{", b"[", b"null", b"-1", b"1e999", b"18446744073709551615", b"\"", b"\xff", b","];
        crate::fuzz::hold(&crate::fuzz::mutated(corpus, tokens), |bytes| {
            // What `read` does, without its complaint.
            let _ = serde_json::from_slice::<Remembered>(&bytes.0);
            Ok(())
        });
    }
}

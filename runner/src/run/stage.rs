//! The folder that a run's processes share: the scenario's files, the plan and the token; and beside it, in memory, the
//! one for what the processes leave.
//!
//! Only their owner can read them, and they are gone when the run is. Start at [`Stage::set`].

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use aiotest_core::run::RunSpec;
use serde::Deserialize;
use tempfile::TempDir;

use super::sources::{self, Files};
use crate::deposit;
use crate::parent::child::Program;
use crate::parent::runners::{self, Runners};

/// Why a run's folder could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// No folder, or no place in it.
    #[error("failed to write the run's files in `{}`: {source}", path.display())]
    Write {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No random bytes.
    #[error("failed to read random bytes for the run's token: {0}")]
    Random(io::Error),
}

/// A run's folder.
#[derive(Debug)]
pub(crate) struct Stage {
    folder: TempDir,
    /// What the runners' processes leave behind.
    deposits: TempDir,
    token: String,
    python: PathBuf,
}

/// What a master says once: where it listens, or why it cannot.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(untagged)]
pub(crate) enum Ready {
    /// It accepts runners.
    Listens {
        /// Its control port.
        control: String,
        /// Its metrics port.
        metrics: String,
    },
    /// The scenario cannot be run.
    Refused {
        /// Why, with file and line where there is one.
        error: String,
    },
}

impl Stage {
    /// An empty folder and a new token. `python` is the interpreter that has the package.
    pub(crate) fn set(python: &Path) -> Result<Self, Error> {
        let private = fs::Permissions::from_mode(0o700);
        let folder = tempfile::Builder::new().prefix("aiotest-").permissions(private).tempdir();
        let folder = folder.map_err(|source| Error::Write { path: std::env::temp_dir(), source })?;
        let deposits =
            deposit::folder().map_err(|source| Error::Write { path: std::env::temp_dir(), source })?;
        let stage = Self { folder, deposits, token: random_hex(32)?, python: python.to_owned() };
        let mut token = OpenOptions::new();
        let token = token.write(true).create_new(true).mode(0o600).open(stage.path("token"));
        token
            .and_then(|mut file| file.write_all(stage.token.as_bytes()))
            .map_err(|source| stage.unwritten(source))?;
        Ok(stage)
    }

    /// Lays files side by side and returns where one of them lies.
    pub(crate) fn write_sources(&self, files: &Files, aiotestfile: &str) -> Result<PathBuf, Error> {
        let folder = self.path("sources");
        let written = fs::create_dir(&folder).and_then(|()| sources::write(files, &folder));
        written.map_err(|source| self.unwritten(source))?;
        Ok(folder.join(aiotestfile))
    }

    /// Lays the file of each data set into a folder of the set's name, and returns where these folders lie.
    pub(crate) fn write_data(&self, data: &BTreeMap<String, Files>) -> Result<PathBuf, Error> {
        let folder = self.path("data");
        for (name, file) in data {
            let own = folder.join(name);
            let written = fs::create_dir_all(&own).and_then(|()| sources::write(file, &own));
            written.map_err(|source| self.unwritten(source))?;
        }
        Ok(folder)
    }

    /// Writes what the run is.
    pub(crate) fn write_plan(&self, spec: &RunSpec) -> Result<(), Error> {
        let text = serde_json::to_vec_pretty(spec).map_err(io::Error::from);
        text.and_then(|text| fs::write(self.path("plan.json"), text)).map_err(|source| self.unwritten(source))
    }

    fn unwritten(&self, source: io::Error) -> Error {
        Error::Write { path: self.path(""), source }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The run's secret.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// The master's program.
    pub(crate) fn master(&self, metrics_address: &str) -> Program {
        self.program(
            "master",
            &[
                ("--control-address", "127.0.0.1:0".into()),
                ("--metrics-address", metrics_address.into()),
                ("--ready-file", self.path("ready.json").into()),
            ],
        )
    }

    /// What the master has said; `None` so far.
    pub(crate) fn ready(&self) -> Option<Ready> {
        serde_json::from_slice(&fs::read(self.path("ready.json")).ok()?).ok()
    }

    /// How this run's runners are started, with the master at `control`.
    pub(crate) fn runners(&self, control: &str) -> Runners {
        let program = self.program("runner", &[("--master", control.into())]);
        Runners::new(program, self.deposits.path().to_owned())
    }

    fn program(&self, role: &str, flags: &[(&str, OsString)]) -> Program {
        runners::program(&self.python, role, &self.path("plan.json"), &self.path("token"), flags)
    }
}

/// `bytes` random bytes in hexadecimal, from the system.
pub(crate) fn random_hex(bytes: usize) -> Result<String, Error> {
    let mut random = vec![0_u8; bytes];
    fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut random))
        .map_err(Error::Random)?;
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or_default();
    Ok(random.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage() -> Stage {
        Stage::set(Path::new("/usr/bin/python3")).unwrap()
    }

    #[test]
    fn the_processes_find_the_sources_and_nobody_else_finds_the_token() {
        let stage = stage();
        let files =
            Files::from([("f.py".to_owned(), b"import cards".to_vec()), ("cards.py".to_owned(), Vec::new())]);
        let aiotestfile = stage.write_sources(&files, "f.py").unwrap();
        assert_eq!(fs::read_to_string(&aiotestfile).unwrap(), "import cards");
        assert!(aiotestfile.with_file_name("cards.py").is_file());
        assert_eq!(fs::read_to_string(stage.path("token")).unwrap(), stage.token());
        assert_eq!(stage.token().len(), 64);
        let mode = |name: &str| fs::metadata(stage.path(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(""), mode("token")), (0o700, 0o600));
        assert_ne!(stage.token(), self::stage().token());
    }

    #[test]
    fn the_file_of_each_data_set_lies_in_a_folder_of_its_name() {
        let stage = stage();
        let file = |text: &str| Files::from([("a.csv".to_owned(), text.as_bytes().to_vec())]);
        let data = [("accounts", file("user\nada\n")), ("terms", file("term\nlamp\n"))];
        let data = data.map(|(name, file)| (name.to_owned(), file)).into();
        let folder = stage.write_data(&data).unwrap();
        assert_eq!(fs::read_to_string(folder.join("terms/a.csv")).unwrap(), "term\nlamp\n");
        assert_eq!(fs::read_to_string(folder.join("accounts/a.csv")).unwrap(), "user\nada\n");
    }

    #[test]
    fn nothing_is_left_when_the_run_is_over() {
        let stage = stage();
        let folders = [stage.path(""), stage.deposits.path().to_owned()];
        assert!(folders.iter().all(|folder| folder.is_dir()));
        drop(stage);
        assert!(!folders.iter().any(|folder| folder.exists()));
    }

    #[test]
    fn a_master_is_ready_or_has_refused() {
        let stage = stage();
        assert_eq!(stage.ready(), None);
        let say = |text: &str| {
            fs::write(stage.path("ready.json"), text).unwrap();
            stage.ready()
        };
        assert_eq!(say("{\"con"), None, "half a file");
        let listens = Ready::Listens { control: "127.0.0.1:1".into(), metrics: "127.0.0.1:2".into() };
        assert_eq!(say(r#"{"control": "127.0.0.1:1", "metrics": "127.0.0.1:2"}"#), Some(listens));
        assert_eq!(say(r#"{"error": "f.py:3: no"}"#), Some(Ready::Refused { error: "f.py:3: no".into() }));
    }
}

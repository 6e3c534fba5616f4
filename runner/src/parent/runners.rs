//! The runner processes of one parent: how each life of each of them is started, and what it leaves behind.
//! Start at [`Runners::new`].

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use aiotest_core::message::ProcessId;

use super::child::Program;
use super::supervise::Kind;
use crate::deposit;

/// A process of the Python package: `python -m aiotest ROLE PLAN --token-file FILE`, and these flags.
pub(crate) fn program(
    python: &Path,
    role: &str,
    plan: &Path,
    token_file: &Path,
    flags: &[(&str, OsString)],
) -> Program {
    let mut args: Vec<OsString> = ["-m", "aiotest", role].map(OsString::from).into();
    args.push(plan.into());
    args.extend(["--token-file".into(), token_file.into()]);
    args.extend(flags.iter().flat_map(|(flag, value)| [OsString::from(flag), value.clone()]));
    Program { executable: python.to_owned(), args }
}

/// The runner processes of one parent.
#[derive(Debug)]
pub(crate) struct Runners {
    program: Program,
    folder: PathBuf,
}

impl Runners {
    /// `program` is the same for all of them; each life has a deposit of its own in `folder`.
    pub(crate) const fn new(program: Program, folder: PathBuf) -> Self {
        Self { program, folder }
    }

    fn deposit(&self, process: &ProcessId) -> PathBuf {
        self.folder.join(format!("deposit-{}-{}-{}", process.runner, process.process, process.incarnation))
    }
}

impl Kind for Runners {
    fn program(&self, process: &ProcessId) -> Program {
        let flags: [(&str, OsString); 4] = [
            ("--id", process.runner.clone().into()),
            ("--process", process.process.to_string().into()),
            ("--incarnation", process.incarnation.to_string().into()),
            ("--deposit", self.deposit(process).into()),
        ];
        let mut program = self.program.clone();
        program.args.extend(flags.into_iter().flat_map(|(flag, value)| [OsString::from(flag), value]));
        program
    }

    /// A process that never got as far as its deposit has sent nothing, but that is not for us to conclude.
    fn sent_total(&self, process: &ProcessId) -> Option<u64> {
        deposit::read(&self.deposit(process)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_incarnation_of_a_runner_has_a_deposit_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let base = program(
            Path::new("/usr/bin/python3"),
            "runner",
            Path::new("/run/plan.json"),
            Path::new("/run/token"),
            &[("--master", "127.0.0.1:5".into())],
        );
        let runners = Runners::new(base, folder.path().to_owned());
        let life = |incarnation| ProcessId { runner: "runner-1".into(), process: 0, incarnation };
        let args: Vec<_> =
            runners.program(&life(2)).args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
        assert_eq!(args[..6], ["-m", "aiotest", "runner", "/run/plan.json", "--token-file", "/run/token"]);
        assert_eq!(
            args[6..14],
            ["--master", "127.0.0.1:5", "--id", "runner-1", "--process", "0", "--incarnation", "2"]
        );
        assert_eq!(runners.sent_total(&life(2)), None);
        let deposit = deposit::Deposit::create(Path::new(&args[15])).unwrap();
        deposit.store_sent(41);
        assert_eq!((runners.sent_total(&life(2)), runners.sent_total(&life(3))), (Some(41), None));
    }
}

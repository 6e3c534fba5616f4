//! One child process in a process group of its own, which never outlives its handle.
//!
//! The terminal's Ctrl-C does not reach it: whoever holds the handle decides what an interrupt means. Its standard
//! input is a pipe that only closes when we let go of it or die, which is how the child learns of our end. Start at
//! [`spawn`].

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{ChildStdin, Command};
use tokio::task::JoinHandle;

use super::output::{Output, Stream};

/// What a child's line may hold before it is printed in parts, in bytes.
const LONGEST_LINE: u64 = 64 * 1024;
/// How long a child's last output is waited for when something else still holds its pipe open.
const LAST_OUTPUT: Duration = Duration::from_millis(500);

/// The process ids of all children that somebody waits for.
static WAITED_FOR: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// Whether a process is one of the children here, whose end is taken note of by whoever holds its handle.
pub(crate) fn is_waited_for(pid: Pid) -> bool {
    WAITED_FOR.lock().unwrap_or_else(PoisonError::into_inner).contains(&pid.as_raw_pid())
}

/// A program and its arguments.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Program {
    /// What is executed.
    pub(crate) executable: PathBuf,
    /// Its arguments, without its own name.
    pub(crate) args: Vec<OsString>,
}

/// How a child ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// It never ran.
    NotStarted(String),
}

impl Exit {
    fn of(status: ExitStatus) -> Self {
        // Unix: a process that has been waited for has either a code or a signal.
        status.code().map_or_else(|| Self::Signal(status.signal().unwrap_or_default()), Self::Code)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "killed by signal {signal}"),
            Self::NotStarted(why) => write!(f, "not started: {why}"),
        }
    }
}

/// A running child. Dropping it kills its whole group.
#[derive(Debug)]
pub(crate) struct Child {
    process: tokio::process::Child,
    group: Option<Pid>,
    stdin: Option<ChildStdin>,
    readers: Vec<JoinHandle<()>>,
}

/// Starts `program`; what it prints goes to `output` line by line.
pub(crate) fn spawn(program: &Program, output: &Output) -> io::Result<Child> {
    let mut process = Command::new(&program.executable)
        .args(&program.args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let group = process.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    if let Some(group) = group {
        WAITED_FOR.lock().unwrap_or_else(PoisonError::into_inner).insert(group.as_raw_pid());
    }
    let stdin = process.stdin.take();
    let readers = [
        process.stdout.take().map(|pipe| tokio::spawn(forward(pipe, output.clone(), Stream::Out))),
        process.stderr.take().map(|pipe| tokio::spawn(forward(pipe, output.clone(), Stream::Err))),
    ];
    Ok(Child { process, group, stdin, readers: readers.into_iter().flatten().collect() })
}

impl Child {
    /// Waits until the child has ended and what it printed has been shown. May be dropped and called again.
    pub(crate) async fn wait(&mut self) -> Exit {
        let exit = match self.process.wait().await {
            Ok(status) => Exit::of(status),
            Err(error) => Exit::NotStarted(format!("unable to wait for it: {error}")),
        };
        // What the child started itself must not outlive it, and would hold its pipes open.
        self.kill();
        self.forget();
        for reader in self.readers.drain(..) {
            let _ = tokio::time::timeout(LAST_OUTPUT, reader).await;
        }
        exit
    }

    /// Lets go of its standard input, which tells it that its parent needs it no longer.
    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Asks it to end.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Ends it and all that it started.
    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // Fails only where nothing of the group is left, which is what is wanted.
            let _ = kill_process_group(group, signal);
        }
    }

    fn forget(&mut self) {
        if let Some(group) = self.group.take() {
            WAITED_FOR.lock().unwrap_or_else(PoisonError::into_inner).remove(&group.as_raw_pid());
        }
    }

    /// Its process id, while it runs.
    #[cfg(test)]
    pub(crate) fn id(&self) -> Option<u32> {
        self.process.id()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
        self.forget();
    }
}

/// Prints what comes out of `pipe` until it closes.
async fn forward(pipe: impl AsyncRead + Unpin, output: Output, stream: Stream) {
    let mut pipe = BufReader::new(pipe);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut pipe).take(LONGEST_LINE).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => output.line(stream, String::from_utf8_lossy(&line).trim_end_matches('\n')),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A shell script as a program.
    pub(crate) fn shell(script: &str) -> Program {
        Program { executable: "/bin/sh".into(), args: vec!["-c".into(), script.into()] }
    }

    /// Whether a process exists and is no zombie.
    pub(crate) fn is_alive(pid: u32) -> bool {
        std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
    }

    /// Waits until `condition` holds, for at most 10 s.
    pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
        for _ in 0..1_000 {
            if condition() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("still not so after 10 s: {what}");
    }

    #[tokio::test]
    async fn an_end_is_told_as_code_or_signal() {
        let output = Output::captured();
        for (script, exit, text) in [
            ("exit 0", Exit::Code(0), "exit code 0"),
            ("exit 75", Exit::Code(75), "exit code 75"),
            ("kill -9 $$", Exit::Signal(9), "killed by signal 9"),
        ] {
            let seen = spawn(&shell(script), &output).unwrap().wait().await;
            assert_eq!((&seen, seen.to_string().as_str()), (&exit, text));
        }
        let absent = Program { executable: "/nowhere/python".into(), args: Vec::new() };
        assert!(spawn(&absent, &output).is_err());
    }

    #[tokio::test]
    async fn all_that_a_child_printed_is_shown_before_its_end_is_told() {
        let output = Output::captured();
        let script = "echo one; echo two >&2; i=0; while [ $i -lt 500 ]; do echo line $i; i=$((i+1)); done; printf end";
        spawn(&shell(script), &output).unwrap().wait().await;
        let (out, err) = (output.taken(Stream::Out), output.taken(Stream::Err));
        assert!(out.starts_with("one\nline 0\n") && out.ends_with("line 499\nend\n"), "{out}");
        assert_eq!(err, "two\n");
    }

    #[tokio::test]
    async fn nothing_of_its_group_outlives_a_dropped_or_an_ended_child() {
        let folder = tempfile::tempdir().unwrap();
        for (name, tail) in [("dropped", "wait"), ("ended", "exit 3")] {
            let note = folder.path().join(name);
            let script = format!("sleep 300 & echo $! > {0}.new; mv {0}.new {0}; {tail}", note.display());
            let mut child = spawn(&shell(&script), &Output::captured()).unwrap();
            let own = child.id().unwrap();
            until("the grandchild has started", || note.exists()).await;
            let grandchild: u32 = std::fs::read_to_string(&note).unwrap().trim().parse().unwrap();
            if name == "ended" {
                assert_eq!(child.wait().await, Exit::Code(3));
            } else {
                assert!(is_alive(own) && is_alive(grandchild));
                drop(child);
            }
            until("both are gone", || !is_alive(own) && !is_alive(grandchild)).await;
        }
    }

    #[tokio::test]
    async fn a_child_notices_that_its_input_has_closed_and_not_before() {
        let output = Output::captured();
        let mut child = spawn(&shell("echo up; cat; exit 7"), &output).unwrap();
        until("it is up", || output.taken(Stream::Out).contains("up")).await;
        assert!(tokio::time::timeout(Duration::from_millis(50), child.wait()).await.is_err());
        child.close_stdin();
        assert_eq!(child.wait().await, Exit::Code(7));
    }
}

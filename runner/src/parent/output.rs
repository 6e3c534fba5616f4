//! The terminal, shared by everything that prints: whole lines, and below them one live line that is rewritten.
//!
//! Where standard error is no terminal there is no live line, and nothing is ever rewritten. Start at [`Output`].

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use unicode_width::UnicodeWidthStr;

/// Where a line goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output: results.
    Out,
    /// Standard error: all that is said on the way.
    Err,
}

/// A handle of the shared terminal; clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    inner: Arc<Mutex<Inner>>,
    live: bool,
    colour: bool,
}

#[derive(Debug)]
struct Inner {
    sink: Sink,
    /// What the live line shows; empty while there is none.
    live: String,
}

#[derive(Debug)]
enum Sink {
    Process,
    #[cfg(test)]
    Captured {
        out: String,
        err: String,
    },
}

impl Output {
    /// The process' own streams. Colours only on a terminal, and without `NO_COLOR`.
    pub(crate) fn of_process() -> Self {
        let live = io::stderr().is_terminal();
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colour = io::stdout().is_terminal() && !plain;
        Self { inner: Arc::new(Mutex::new(Inner { sink: Sink::Process, live: String::new() })), live, colour }
    }

    /// The same streams, where nothing is rewritten: others print to them as well.
    pub(crate) fn without_live_line(self) -> Self {
        Self { live: false, ..self }
    }

    /// Whether there is a live line to rewrite.
    pub(crate) const fn has_live_line(&self) -> bool {
        self.live
    }

    /// Whether results may have colours.
    pub(crate) const fn has_colour(&self) -> bool {
        self.colour
    }

    /// Prints one or several whole lines above the live line.
    pub(crate) fn line(&self, stream: Stream, text: &str) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let live = std::mem::take(&mut inner.live);
        if !live.is_empty() {
            inner.write(Stream::Err, "\r\x1b[K");
        }
        inner.write(stream, text);
        inner.write(stream, "\n");
        if !live.is_empty() {
            inner.write(Stream::Err, &live);
        }
        inner.live = live;
    }

    /// Replaces the live line; an empty text takes it away. Does nothing without a terminal.
    pub(crate) fn live(&self, text: &str) {
        if !self.live {
            return;
        }
        let text = fitting(text, columns());
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.write(Stream::Err, "\r\x1b[K");
        inner.write(Stream::Err, text);
        text.clone_into(&mut inner.live);
    }
}

impl Inner {
    /// A closed pipe or a full disk is no reason to stop a run: what cannot be printed is lost.
    fn write(&mut self, stream: Stream, text: &str) {
        match (&mut self.sink, stream) {
            (Sink::Process, Stream::Out) => {
                let mut out = io::stdout().lock();
                let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
            }
            (Sink::Process, Stream::Err) => {
                let _ = io::stderr().lock().write_all(text.as_bytes());
            }
            #[cfg(test)]
            (Sink::Captured { out, .. }, Stream::Out) => out.push_str(text),
            #[cfg(test)]
            (Sink::Captured { err, .. }, Stream::Err) => err.push_str(text),
        }
    }
}

/// The terminal's width; 80 where it does not say.
fn columns() -> usize {
    rustix::termios::tcgetwinsize(io::stderr())
        .ok()
        .map(|size| usize::from(size.ws_col))
        .filter(|w| *w != 0)
        .unwrap_or(80)
}

/// As much of `text` as fits without a line break, which could not be rewritten.
fn fitting(text: &str, columns: usize) -> &str {
    let mut end = text.len();
    while columns <= text[..end].width() {
        match text[..end].char_indices().next_back() {
            Some((at, _)) => end = at,
            None => break,
        }
    }
    &text[..end]
}

#[cfg(test)]
impl Output {
    /// One that keeps what it is given, with neither live line nor colours.
    pub(crate) fn captured() -> Self {
        let sink = Sink::Captured { out: String::new(), err: String::new() };
        Self { inner: Arc::new(Mutex::new(Inner { sink, live: String::new() })), live: false, colour: false }
    }

    /// What has been printed so far.
    pub(crate) fn taken(&self, stream: Stream) -> String {
        let inner = self.inner.lock().unwrap();
        match (&inner.sink, stream) {
            (Sink::Captured { out, .. }, Stream::Out) => out.clone(),
            (Sink::Captured { err, .. }, Stream::Err) => err.clone(),
            (Sink::Process, _) => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_printed_above_the_live_one() {
        let output = Output { live: true, ..Output::captured() };
        output.live("10 users");
        output.line(Stream::Err, "a log line");
        output.live("");
        output.line(Stream::Out, "the end");
        assert_eq!(output.taken(Stream::Err), "\r\x1b[K10 users\r\x1b[Ka log line\n10 users\r\x1b[K");
        assert_eq!(output.taken(Stream::Out), "the end\n");
    }

    #[test]
    fn without_a_terminal_nothing_is_rewritten() {
        let output = Output::captured();
        output.live("10 users");
        output.line(Stream::Err, "a log line");
        assert_eq!(output.taken(Stream::Err), "a log line\n");
    }

    #[test]
    fn a_live_line_never_wraps() {
        assert_eq!(fitting("0123456789", 11), "0123456789");
        assert_eq!(fitting("0123456789", 10), "012345678");
        assert_eq!(fitting("漢字漢字", 6), "漢字");
        assert_eq!(fitting("é", 1), "");
    }
}

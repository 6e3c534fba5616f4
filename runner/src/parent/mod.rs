//! What a parent of a run's processes needs, on a laptop (`aiotest run`) as in a pod (`aiotest pod`): child processes
//! that never outlive it, their output, when to start them again, and how to speak to the run's master.
//!
//! Decides nothing about the load, and never attaches to the interpreter. Start at [`supervise::Supervisor`].

pub(crate) mod child;
pub(crate) mod interrupts;
pub(crate) mod output;
mod restarts;
pub(crate) mod runners;
pub(crate) mod supervise;

use std::error::Error;

/// An error with everything that led to it, in one line.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        // A transparent error and its source say the same.
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_with_its_causes_and_no_word_twice() {
        #[derive(Debug, thiserror::Error)]
        #[error("failed to reach the master")]
        struct Outer(#[source] std::io::Error);
        #[derive(Debug, thiserror::Error)]
        #[error(transparent)]
        struct Transparent(Outer);
        let error = Transparent(Outer(std::io::Error::other("connection refused")));
        assert_eq!(with_causes(&error), "failed to reach the master: connection refused");
    }
}

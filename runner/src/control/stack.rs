//! Reads what `faulthandler` wrote of a thread's stack, and names the line of the scenario in it. Pure. Start at
//! [`place`].

/// What `faulthandler` writes before the frames.
const HEADING: &str = "Stack (most recent call first):";
/// Folders of libraries, which may lie beneath the scenario's own folder.
const LIBRARIES: [&str; 3] = ["/site-packages/", "/dist-packages/", "/lib/python3"];

/// One frame.
struct Frame<'a> {
    file: &'a str,
    line: &'a str,
    function: &'a str,
}

impl Frame<'_> {
    fn is_of(&self, folders: &[String]) -> Option<&str> {
        let inside =
            folders.iter().find_map(|folder| self.file.strip_prefix(&**folder)?.strip_prefix('/'))?;
        LIBRARIES.iter().all(|library| !self.file.contains(library)).then_some(inside)
    }
}

/// Where the thread was: the innermost line of the scenario, whose files are beneath `folders` and named as its author
/// knows them, and the function of a library that it called, if any; outside of the scenario the innermost line of all.
/// `None` where no frame is written.
pub(super) fn place(dump: &str, folders: &[String]) -> Option<String> {
    // A signal that came late may have left a stack before this one.
    let dump = dump.rsplit(HEADING).next()?;
    let frames: Vec<Frame<'_>> = dump.lines().filter_map(frame).collect();
    let own = |(depth, frame): (usize, &Frame<'_>)| Some((depth, frame.is_of(folders)?.to_owned()));
    let Some((depth, file)) = frames.iter().enumerate().find_map(own) else {
        let innermost = frames.first()?;
        let file: Vec<&str> = innermost.file.rsplit('/').take(2).collect();
        let file = file.into_iter().rev().collect::<Vec<_>>().join("/");
        return Some(format!("outside the scenario, {file}:{} in {}", innermost.line, innermost.function));
    };
    let frame = &frames[depth];
    let called = depth.checked_sub(1).map(|called| format!(", which called {}", frames[called].function));
    Some(format!("{file}:{} in {}{}", frame.line, frame.function, called.unwrap_or_default()))
}

/// `  File "/srv/aiotestfile.py", line 12 in test_report`
fn frame(line: &str) -> Option<Frame<'_>> {
    let (file, rest) = line.trim_start().strip_prefix("File \"")?.rsplit_once("\", line ")?;
    let (line, function) = rest.split_once(" in ")?;
    Some(Frame { file, line, function })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(dump: &str) -> Option<String> {
        place(dump, &["/srv/run".to_owned(), "/private/srv/run".to_owned()])
    }

    const SLEEPS: &str = "Stack (most recent call first):\n  File \"/srv/run/aiotestfile.py\", line 9 in test_slow\n  \
                          File \"/usr/lib/python3.12/asyncio/events.py\", line 84 in _run\n";

    #[test]
    fn the_innermost_line_of_the_scenario_is_named() {
        assert_eq!(named(SLEEPS).as_deref(), Some("aiotestfile.py:9 in test_slow"));
    }

    #[test]
    fn a_library_is_named_by_the_line_that_called_it() {
        let dump = "Stack (most recent call first):\n  File \"/usr/lib/python3.12/json/scanner.py\", line 3 in scan\n  \
                    File \"/srv/run/.venv/lib/python3.12/site-packages/lib/a.py\", line 7 in parse\n  \
                    File \"/private/srv/run/shop/cart.py\", line 21 in add\n  File \"/srv/run/aiotestfile.py\", line 5 in \
                    test\n";
        assert_eq!(named(dump).as_deref(), Some("shop/cart.py:21 in add, which called parse"));
    }

    #[test]
    fn outside_the_scenario_the_innermost_line_is_named() {
        let dump = "Stack (most recent call first):\n  File \"/usr/lib/python3.12/selectors.py\", line 468 in select\n";
        assert_eq!(
            named(dump).as_deref(),
            Some("outside the scenario, python3.12/selectors.py:468 in select")
        );
    }

    #[test]
    fn of_two_stacks_the_last_counts_and_half_a_line_is_none() {
        let two = format!("{SLEEPS}{}", SLEEPS.replace("line 9", "line 10"));
        assert_eq!(named(&two).as_deref(), Some("aiotestfile.py:10 in test_slow"));
        assert_eq!(named("Stack (most recent call first):\n  File \"/srv/run/aiotest"), None);
        assert_eq!(named(""), None);
        let odd = "  File \"/srv/run/a\", line 3\", line 4 in f in g\n";
        assert_eq!(named(odd).as_deref(), Some("a\", line 3:4 in f in g"));
    }
}

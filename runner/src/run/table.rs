//! Text in columns, with colours where they are wanted. Pure. Start at [`fitted`] and [`Paint`].

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// How a text may look.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Style {
    /// A heading.
    Bold,
    /// As it should be.
    Good,
    /// As it should not be.
    Bad,
    /// Neither.
    Doubtful,
}

/// Whether there are colours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint(pub(crate) bool);

impl Paint {
    /// `text` in this style. Colours take no column, so a text is painted after it has its width.
    pub(crate) fn text(self, style: Style, text: &str) -> String {
        let code = match style {
            Style::Bold => "1",
            Style::Good => "1;32",
            Style::Bad => "1;31",
            Style::Doubtful => "1;33",
        };
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// `text` at the right of `width` columns; one that is longer stays whole behind a space.
pub(crate) fn right(text: &str, width: usize) -> String {
    let space = width.saturating_sub(text.width()).max(1);
    format!("{}{text}", " ".repeat(space))
}

/// `text` at the left of exactly `width` columns. One that is longer loses its middle, which says least: the method and
/// the last part of a path stay.
pub(crate) fn fitted(text: &str, width: usize) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { '·' } else { c }).collect();
    let text = if text.width() <= width { text } else { shortened(&text, width) };
    let space = width.saturating_sub(text.width());
    format!("{text}{}", " ".repeat(space))
}

fn shortened(text: &str, width: usize) -> String {
    let room = width.saturating_sub(1);
    let head = taken(text.chars(), room / 2);
    let tail = taken(text.chars().rev(), room - room / 2);
    let tail: String = tail.chars().rev().collect();
    format!("{head}…{tail}")
}

/// The characters that come first and fit.
fn taken(characters: impl Iterator<Item = char>, width: usize) -> String {
    let mut used = 0;
    let fits = |character: &char| {
        used += character.width().unwrap_or(0);
        used <= width
    };
    characters.take_while(fits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_gets_exactly_its_columns() {
        for (text, expected) in [
            ("GET /", "GET /     "),
            ("0123456789", "0123456789"),
            ("0123456789abc", "0123…89abc"),
            ("漢字漢字漢字", "漢字…漢字 "),
            ("a\x1b[31m\n", "a·[31m·   "),
        ] {
            assert_eq!(fitted(text, 10), expected);
            assert_eq!(fitted(text, 10).width(), 10, "{text}");
        }
    }

    #[test]
    fn a_number_is_never_cut_and_never_touches_its_neighbour() {
        assert_eq!(right("12", 5), "   12");
        assert_eq!(right("123456", 5), " 123456");
    }

    #[test]
    fn without_colours_nothing_is_added() {
        assert_eq!(Paint(false).text(Style::Bad, "x"), "x");
        assert_eq!(Paint(true).text(Style::Bad, "x"), "\x1b[1;31mx\x1b[0m");
    }
}

//! Reads the small grammars of the `LoadTest`, character by character, and says where one went wrong.

use std::fmt;

/// A text that its grammar refuses: where, what was found there, and what is allowed in its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at character {position}: found {found}, allowed is {allowed}")]
pub struct Unexpected {
    /// Counted in characters, from 1.
    pub position: usize,
    /// The offending piece of the text in backquotes, cut short; or `a space`, or `the end`.
    pub found: String,
    /// What may stand at this position.
    pub allowed: String,
}

/// The longest piece of a refused text that an error repeats, in characters.
const FOUND_MAX: usize = 24;

/// A position in a text.
#[derive(Clone, Copy)]
pub(crate) struct Cursor<'a> {
    rest: &'a str,
    position: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { rest: text, position: 1 }
    }

    pub(crate) fn at_end(self) -> bool {
        self.rest.is_empty()
    }

    /// The text from here to a later position in it.
    pub(crate) fn up_to(self, later: Self) -> &'a str {
        &self.rest[..self.rest.len().saturating_sub(later.rest.len())]
    }

    /// The longest run of characters that `belongs` accepts; may be empty.
    pub(crate) fn take_while(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !belongs(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        self.position += taken.chars().count();
        taken
    }

    /// Steps over `literal` if the text goes on with it.
    pub(crate) fn take(&mut self, literal: &str) -> bool {
        let Some(rest) = self.rest.strip_prefix(literal) else { return false };
        self.rest = rest;
        self.position += literal.chars().count();
        true
    }

    /// The error for what stands here: the piece up to the next space.
    pub(crate) fn unexpected(self, allowed: impl fmt::Display) -> Unexpected {
        let piece = self.rest.split(' ').next().unwrap_or(self.rest);
        let mut shown: String = piece.chars().take(FOUND_MAX).collect();
        if shown.len() < piece.len() {
            shown.push('…');
        }
        let found = match (self.at_end(), piece) {
            (true, _) => "the end".to_owned(),
            (false, "") => "a space".to_owned(),
            (false, _) => format!("`{shown}`"),
        };
        Unexpected { position: self.position, found, allowed: allowed.to_string() }
    }
}

/// A plain decimal number: `1`, `1.5`, `0.01`; never a sign, never an exponent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decimal {
    digits: u64,
    scale: u32,
}

impl Decimal {
    /// Up to nine digits, then up to six more behind a point.
    pub(crate) const PATTERN: &'static str = r"[0-9]{1,9}(\.[0-9]{1,6})?";

    /// Reads a number by [`Self::PATTERN`].
    pub(crate) fn read(cursor: &mut Cursor<'_>, allowed: &str) -> Result<Self, Unexpected> {
        let start = *cursor;
        let whole = cursor.take_while(|c| c.is_ascii_digit());
        let mut fraction = "";
        let mut good = (1..=9).contains(&whole.len());
        if good && cursor.take(".") {
            fraction = cursor.take_while(|c| c.is_ascii_digit());
            good = (1..=6).contains(&fraction.len());
        }
        let digits = format!("{whole}{fraction}").parse();
        match digits {
            Ok(digits) if good => Ok(Self { digits, scale: u32::try_from(fraction.len()).unwrap_or(0) }),
            _ => Err(start.unexpected(allowed)),
        }
    }

    /// The number times `factor`, rounded once.
    pub(crate) fn times(self, factor: u64) -> f64 {
        (self.digits.saturating_mul(factor)) as f64 / 10_f64.powi(self.scale.cast_signed())
    }

    /// The number divided by `divisor`, rounded once.
    pub(crate) fn over(self, divisor: u64) -> f64 {
        self.digits as f64 / (10_f64.powi(self.scale.cast_signed()) * divisor as f64)
    }
}

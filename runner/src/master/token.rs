//! The control port's bearer token. Compared in constant time; never printed.

use std::fmt;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use subtle::ConstantTimeEq as _;

/// The secret that every call of the control port carries. Any non-empty text of visible characters.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// `None` where `text` is empty or could not stand in a header.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())).then(|| Self(text.to_owned()))
    }

    /// Whether `headers` carry this token. Takes as long for a near miss as for a far one.
    pub fn admits(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(AUTHORIZATION).map_or(&b""[..], |value| value.as_bytes());
        let scheme = given.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer "));
        scheme && bool::from(given[7..].ct_eq(self.0.as_bytes()))
    }

    /// The value of the header `Authorization`.
    pub fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_token_is_admitted() {
        let token = Token::new("s3cret\n").unwrap();
        let admits = |value: Option<&str>| {
            let headers = value.map(|value| (AUTHORIZATION, value.parse().unwrap()));
            token.admits(&headers.into_iter().collect())
        };
        assert!(admits(Some("Bearer s3cret")) && admits(Some("bearer s3cret")));
        for other in ["", "Bearer", "Bearer ", "s3cret", "Basic s3cret", "Bearer s3cre", "Bearer s3cret2"] {
            assert!(!admits(Some(other)), "{other}");
        }
        assert!(!admits(None));
    }

    #[test]
    fn a_token_that_cannot_stand_in_a_header_is_refused_and_none_is_ever_printed() {
        assert!(
            Token::new(" \n").is_none() && Token::new("two words").is_none() && Token::new("tökén").is_none()
        );
        assert!(!format!("{:?}", Token::new("s3cret").unwrap()).contains("s3cret"));
    }
}

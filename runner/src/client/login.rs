//! Who a call says that its user is: `auth`, a user in its URL, or what the netrc file knows of the host. Start at
//! [`authorization`].

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::options::Options;
use super::payload;
use crate::reactor::request::{HeaderBlock, Target};
use crate::reactor::route::Route;

/// Who the user is to a server, where the scenario says it neither by `auth` nor by a header.
#[derive(Clone, Copy)]
pub(super) enum Login<'a> {
    /// The URL has a user in it.
    OfUrl(&'a str),
    /// The netrc file knows the host.
    OfFile(&'a str),
}

impl<'a> Login<'a> {
    pub(super) fn of(route: Option<&'a Route>, target: &'a Target) -> Option<Self> {
        match &target.authorization {
            Some(value) => Some(Self::OfUrl(value)),
            None => Route::login(Some(route?), target).map(Self::OfFile),
        }
    }
}

/// The value of a call's `Authorization` header, where that is not among its headers, `block`, as it is to be.
pub(super) fn authorization(
    py: Python<'_>,
    block: &HeaderBlock,
    options: &Options<'_>,
    login: Option<Login<'_>>,
) -> PyResult<Option<String>> {
    if options.auth.is_none() && login.is_none() {
        return Ok(None);
    }
    let of_file = options.auth.is_none() && matches!(login, Some(Login::OfFile(_)));
    let own = options.headers.as_ref().map(|own| payload::add_headers(&HeaderBlock::default(), own));
    if !of_file && own.transpose()?.is_some_and(|own| own.contains("authorization")) {
        let text = "a call takes either auth (or a user in its URL) or a header named Authorization";
        return Err(PyValueError::new_err(text));
    }
    match (&options.auth, login) {
        (Some(_), Some(Login::OfUrl(_))) => {
            Err(PyValueError::new_err("a call takes either auth or a user in its URL"))
        }
        (Some(auth), _) => {
            imported!(py, "aiotest.client", "_authorization")?.call1((auth,))?.extract().map(Some)
        }
        (None, Some(Login::OfUrl(value))) => Ok(Some(value.to_owned())),
        // Of all that is known the file knows least.
        (None, Some(Login::OfFile(value))) => {
            Ok((!block.contains("authorization")).then(|| value.to_owned()))
        }
        (None, None) => Ok(None),
    }
}

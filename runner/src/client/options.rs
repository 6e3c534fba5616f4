//! The keywords of one call.

use std::sync::Arc;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyString};

use super::payload::{self, Compress};
use super::timeout;
use super::upload::Streamed;
use super::way::Way;
use crate::reactor::Http2;
use crate::reactor::request::{HeaderBlock, Timeouts, Version};

/// How many redirects a call follows unless it says otherwise.
const MAX_REDIRECTS: u32 = 10;

/// What a call was given besides its URL.
#[derive(Default)]
pub(super) struct Options<'py> {
    pub(super) name: Option<Arc<str>>,
    pub(super) params: Option<Bound<'py, PyAny>>,
    pub(super) data: Option<Bound<'py, PyAny>>,
    pub(super) json: Option<Bound<'py, PyAny>>,
    pub(super) headers: Option<Bound<'py, PyAny>>,
    pub(super) cookies: Option<Bound<'py, PyAny>>,
    pub(super) auth: Option<Bound<'py, PyAny>>,
    /// Names of headers that are not to be sent unless the scenario gave them.
    pub(super) skipped: Vec<String>,
    pub(super) compress: Option<Compress>,
    pub(super) chunked: bool,
    pub(super) timeouts: Option<Timeouts>,
    allow_redirects: Option<bool>,
    max_redirects: Option<u32>,
    pub(super) raise_for_status: Option<bool>,
    pub(super) expect100: bool,
    pub(super) read_ahead: Option<usize>,
    /// `None`: as the session's.
    pub(super) way: Option<Box<Way<'py>>>,
}

/// Whether HTTP/2 is asked for, and how.
pub(super) fn http2(given: &Bound<'_, PyAny>) -> PyResult<Option<Http2>> {
    if given.is_none() {
        return Ok(None);
    }
    if let Ok(asked) = given.cast::<PyBool>() {
        return Ok(asked.is_true().then_some(Http2::Offered));
    }
    match given.cast::<PyString>() {
        Ok(text) if text.to_cow()? == "prior-knowledge" => Ok(Some(Http2::PriorKnowledge)),
        _ => Err(PyValueError::new_err(format!(
            "http2 must be False, True (offered to https servers) or \"prior-knowledge\" (spoken to http servers, too), \
             not {}",
            given.repr()?
        ))),
    }
}

impl<'py> Options<'py> {
    /// Reads the keywords. One that is unknown, or not built, is named in the error.
    pub(super) fn read(keywords: Option<&Bound<'py, PyDict>>) -> PyResult<Self> {
        let mut options = Self::default();
        let Some(keywords) = keywords else { return Ok(options) };
        for (keyword, value) in keywords {
            let keyword = keyword.cast_into::<PyString>()?;
            let keyword = keyword.to_cow()?;
            if value.is_none() {
                // As in aiohttp: the session's own, or nothing.
                known(&keyword)?;
                continue;
            }
            options.set(&keyword, value)?;
        }
        if options.data.is_some() && options.json.is_some() {
            return Err(PyValueError::new_err("data and json cannot be given at the same time"));
        }
        Ok(options)
    }

    fn set(&mut self, keyword: &str, value: Bound<'py, PyAny>) -> PyResult<()> {
        match keyword {
            "name" => {
                let text = value.cast::<PyString>().map_err(|_| wrong(keyword, "a str", &value))?;
                self.name = Some(Arc::from(text.to_cow()?.as_ref()));
            }
            "params" => self.params = Some(value),
            "data" => self.data = Some(value),
            "json" => self.json = Some(value),
            "headers" => self.headers = Some(value),
            "cookies" => self.cookies = Some(value),
            "auth" => self.auth = Some(value),
            "skip_auto_headers" => self.skipped = names(&value)?,
            "compress" => self.compress = Compress::named(&value)?,
            "chunked" => self.chunked = value.is_truthy()?,
            "timeout" => self.timeouts = Some(timeout::limits(&value)?),
            "allow_redirects" => self.allow_redirects = Some(value.is_truthy()?),
            "max_redirects" => {
                let most =
                    value.extract().map_err(|_| wrong(keyword, "a whole number, 0 or more", &value))?;
                self.max_redirects = Some(most);
            }
            "expect100" => self.expect100 = value.is_truthy()?,
            "read_bufsize" => {
                let size = value.extract().map_err(|_| wrong(keyword, "a number of bytes", &value))?;
                self.read_ahead = Some(size);
            }
            "raise_for_status" => self.raise_for_status = Some(value.is_truthy()?),
            "ssl" => self.way().ssl = Some(value),
            "verify_ssl" => self.way().verify_ssl = Some(value),
            "proxy" => self.way().proxy = Some(value),
            "proxy_auth" => self.way().proxy_auth = Some(value),
            "proxy_headers" => self.way().proxy_headers = Some(value),
            _ => known(keyword)?,
        }
        Ok(())
    }

    /// The body, if it is one that is taken piece by piece while it is sent.
    pub(super) fn streamed(&self, session: &HeaderBlock) -> PyResult<Option<Streamed>> {
        let Some(data) = &self.data else { return Ok(None) };
        // Most bodies are one of these, and to miss an attribute costs more than to look at a type.
        let plain = data.is_exact_instance_of::<PyBytes>()
            || data.is_exact_instance_of::<PyString>()
            || data.is_exact_instance_of::<PyDict>();
        if plain || !data.hasattr(intern!(data.py(), "__aiter__"))? {
            return Ok(None);
        }
        let own = self.headers.as_ref().map(|own| payload::add_headers(session, own)).transpose()?;
        let chunked = self.chunked || !own.as_ref().unwrap_or(session).contains("content-length");
        let compress = self.compress.map(Compress::name);
        let pieces = imported!(data.py(), "aiotest.uploads", "pieces")?.call1((data, compress))?;
        Ok(Some(Streamed { pieces: pieces.unbind(), chunked }))
    }

    fn way(&mut self) -> &mut Way<'py> {
        self.way.get_or_insert_default()
    }

    /// How many redirects are followed.
    pub(super) fn redirects(&self, unless_told: bool) -> u32 {
        if self.allow_redirects.unwrap_or(unless_told) {
            self.max_redirects.unwrap_or(MAX_REDIRECTS)
        } else {
            0
        }
    }
}

/// The version of HTTP/1 that requests name: a pair, as aiohttp's `HttpVersion10` and `HttpVersion11` are.
pub(super) fn version(given: Option<&Bound<'_, PyAny>>) -> PyResult<Version> {
    let Some(given) = given.filter(|given| !given.is_none()) else { return Ok(Version::Http11) };
    match given.extract::<(u8, u8)>() {
        Ok((1, 0)) => Ok(Version::Http10),
        Ok((1, 1)) => Ok(Version::Http11),
        _ => Err(PyValueError::new_err(format!(
            "version must be HttpVersion10 or HttpVersion11, not {} (for HTTP/2 there is http2)",
            given.repr()?
        ))),
    }
}

/// Names of headers.
pub(super) fn names(given: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    let wrong =
        || PyTypeError::new_err("skip_auto_headers must be names of headers, such as [\"User-Agent\"]");
    if given.is_instance_of::<PyString>() {
        return Err(wrong());
    }
    let names = given.try_iter().map_err(|_| wrong())?;
    names.map(|name| Ok(name?.str()?.to_cow()?.into_owned())).collect()
}

fn wrong(keyword: &str, what: &str, value: &Bound<'_, PyAny>) -> PyErr {
    let given = value.repr().map_or_else(|error| error.to_string(), |text| text.to_string());
    PyTypeError::new_err(format!("{keyword} must be {what}, not {given}"))
}

fn known(keyword: &str) -> PyResult<()> {
    const KNOWN: [&str; 21] = [
        "name",
        "params",
        "data",
        "json",
        "headers",
        "skip_auto_headers",
        "cookies",
        "auth",
        "compress",
        "chunked",
        "timeout",
        "allow_redirects",
        "max_redirects",
        "raise_for_status",
        "expect100",
        "read_bufsize",
        "ssl",
        "verify_ssl",
        "proxy",
        "proxy_auth",
        "proxy_headers",
    ];
    if KNOWN.contains(&keyword) {
        return Ok(());
    }
    Err(PyTypeError::new_err(format!("a call takes no argument `{keyword}` (it takes {})", KNOWN.join(", "))))
}

//! What a call sends: headers, cookies and the body, from what Python gives.

use std::borrow::Cow;
use std::io::{self, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyInt, PyList, PyMemoryView, PyString, PyTuple};

use super::json_encode;
use super::target::{items, pairs};
use crate::reactor::request::{HeaderBlock, HeaderError};

/// A body and what is said of it.
pub(super) struct Payload {
    pub(super) body: Bytes,
    pub(super) content_type: Cow<'static, str>,
    /// Further headers, each unless the scenario gives one of that name.
    further: Vec<(&'static str, Cow<'static, str>)>,
}

impl Payload {
    const fn of(body: Bytes, content_type: &'static str) -> Self {
        Self { body, content_type: Cow::Borrowed(content_type), further: Vec::new() }
    }

    /// Whether its type is all that is said of it, and one that many bodies have.
    pub(super) fn is_plain(&self) -> bool {
        self.further.is_empty() && matches!(self.content_type, Cow::Borrowed(_))
    }

    /// `block` with the body's headers, but for those that it has itself, and the `skipped` ones.
    pub(super) fn typed(&self, block: &HeaderBlock, skipped: &[String]) -> PyResult<HeaderBlock> {
        for (option, header, sent) in [
            ("compress", "Content-Encoding", "Content-Encoding"),
            ("chunked", "Content-Length", "Transfer-Encoding"),
        ] {
            // Who reads the request would have to guess which of the two is true.
            if block.contains(header) && self.further.iter().any(|(name, _)| *name == sent) {
                let text = format!("a call takes either {option} or a header named {header}");
                return Err(PyValueError::new_err(text));
            }
        }
        let mut block = block.clone();
        let is_skipped = |name: &str| skipped.iter().any(|skipped| skipped.eq_ignore_ascii_case(name));
        let headers = std::iter::once(("Content-Type", &self.content_type));
        for (name, value) in headers.chain(self.further.iter().map(|(name, value)| (*name, value))) {
            if !block.contains(name) && !is_skipped(name) {
                block.push(name, value.as_bytes()).map_err(|error| header_error(&error))?;
            }
        }
        Ok(block)
    }

    /// As it is framed: in one chunk, or with its length, which is told when it is sent, but for a body of nothing.
    pub(super) fn framed(mut self, chunked: bool) -> Self {
        if chunked {
            return self.chunked();
        }
        if self.body.is_empty() {
            self.further.push(("Content-Length", Cow::Borrowed("0")));
        }
        self
    }

    /// What is said of a body that follows once the server has asked for it, and the body.
    pub(super) fn expecting(mut self, py: Python<'_>) -> PyResult<(Self, Py<PyAny>)> {
        let body = std::mem::take(&mut self.body);
        if !self.further.iter().any(|(name, _)| *name == "Transfer-Encoding") {
            self.further.push(("Content-Length", Cow::Owned(body.len().to_string())));
        }
        self.further.push(("Expect", Cow::Borrowed("100-continue")));
        let pieces = imported!(py, "aiotest.uploads", "whole")?.call1((PyBytes::new(py, &body),))?;
        Ok((self, pieces.unbind()))
    }

    /// The body compressed, unless there is none.
    pub(super) fn compressed(mut self, compress: Compress) -> PyResult<Self> {
        if self.body.is_empty() {
            return Ok(self);
        }
        self.body = match compress {
            Compress::Gzip => {
                encoded(GzEncoder::new(Vec::new(), Compression::default()), &self.body, GzEncoder::finish)?
            }
            Compress::Deflate => encoded(
                ZlibEncoder::new(Vec::new(), Compression::default()),
                &self.body,
                ZlibEncoder::finish,
            )?,
        };
        self.further.push(("Content-Encoding", Cow::Borrowed(compress.name())));
        Ok(self)
    }

    fn chunked(mut self) -> Self {
        let mut body = Vec::with_capacity(self.body.len() + 32);
        if !self.body.is_empty() {
            body.extend_from_slice(format!("{:x}\r\n", self.body.len()).as_bytes());
            body.extend_from_slice(&self.body);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"0\r\n\r\n");
        self.body = body.into();
        self.further.push(("Transfer-Encoding", Cow::Borrowed("chunked")));
        self
    }
}

fn encoded<E: Write>(mut encoder: E, body: &[u8], finish: fn(E) -> io::Result<Vec<u8>>) -> PyResult<Bytes> {
    encoder.write_all(body)?;
    Ok(finish(encoder)?.into())
}

/// How a body is compressed.
#[derive(Clone, Copy)]
pub(super) enum Compress {
    Gzip,
    Deflate,
}

impl Compress {
    /// What `compress=…` says: a name, or true for deflate. `None`: not at all.
    pub(super) fn named(value: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        let Ok(name) = value.cast::<PyString>() else {
            return Ok(value.is_truthy()?.then_some(Self::Deflate));
        };
        match &*name.to_cow()? {
            "gzip" => Ok(Some(Self::Gzip)),
            "deflate" => Ok(Some(Self::Deflate)),
            other => Err(PyValueError::new_err(format!(
                "compress must be `gzip`, `deflate` or a bool, not `{other}`"
            ))),
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }
}

/// The body of `data=…`.
pub(super) fn of_data(data: &Bound<'_, PyAny>) -> PyResult<Payload> {
    if let Ok(bytes) = data.cast::<PyBytes>() {
        return Ok(binary(bytes.as_bytes()));
    }
    if let Ok(text) = data.cast::<PyString>() {
        let body = Bytes::copy_from_slice(text.to_cow()?.as_bytes());
        return Ok(Payload::of(body, "text/plain; charset=utf-8"));
    }
    if data.is_instance_of::<PyByteArray>() || data.is_instance_of::<PyMemoryView>() {
        let bytes = data.py().get_type::<PyBytes>().call1((data,))?.cast_into::<PyBytes>()?;
        return Ok(binary(bytes.as_bytes()));
    }
    if (data.is_instance_of::<PyList>() || data.is_instance_of::<PyTuple>() || data.hasattr("items")?)
        && !has_parts(data)?
    {
        let form =
            url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs("data", data)?).finish();
        return Ok(Payload::of(form.into(), "application/x-www-form-urlencoded"));
    }
    let encode = imported!(data.py(), "aiotest.forms", "encode")?;
    let (body, kind, disposition) =
        encode.call1((data,))?.extract::<(Bound<'_, PyBytes>, String, Option<String>)>()?;
    let further = disposition.map(|value| ("Content-Disposition", Cow::Owned(value)));
    Ok(Payload {
        body: Bytes::copy_from_slice(body.as_bytes()),
        content_type: Cow::Owned(kind),
        further: further.into_iter().collect(),
    })
}

/// A body that follows piece by piece, in chunks or of a length that the scenario tells.
pub(super) fn streamed(chunked: bool, compress: Option<Compress>) -> Payload {
    let mut payload = none();
    if let Some(compress) = compress {
        payload.further.push(("Content-Encoding", Cow::Borrowed(compress.name())));
    }
    if chunked {
        payload.further.push(("Transfer-Encoding", Cow::Borrowed("chunked")));
    }
    payload
}

/// No body where one is expected.
pub(super) const fn none() -> Payload {
    Payload::of(Bytes::new(), "application/octet-stream")
}

/// Whether a form has files or bytes in it, so that it is sent in parts.
fn has_parts(data: &Bound<'_, PyAny>) -> PyResult<bool> {
    for item in items("data", data)? {
        let Ok((_, value)) = item?.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>() else {
            return Ok(false);
        };
        let plain = value.is_instance_of::<PyString>() || value.is_instance_of::<PyInt>();
        if !plain && (value.is_instance_of::<PyBytes>() || value.hasattr("read")?) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn binary(bytes: &[u8]) -> Payload {
    Payload::of(Bytes::copy_from_slice(bytes), "application/octet-stream")
}

/// The body of `json=…`, by the session's `json_serialize`.
pub(super) fn of_json(serialize: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<Payload> {
    let body = match natively(serialize, value)? {
        Some(body) => body,
        None => serialized(&serialize.call1((value,))?)?,
    };
    Ok(Payload::of(body, "application/json"))
}

/// What `json.dumps` would give, if it is what serialises.
fn natively(serialize: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<Option<Bytes>> {
    if !serialize.is(imported!(value.py(), "aiotest.client", "_dumps")?) {
        return Ok(None);
    }
    Ok(json_encode::encode(value).map(Bytes::from))
}

fn serialized(made: &Bound<'_, PyAny>) -> PyResult<Bytes> {
    if let Ok(text) = made.cast::<PyString>() {
        return Ok(Bytes::copy_from_slice(text.to_cow()?.as_bytes()));
    }
    match made.cast::<PyBytes>() {
        Ok(bytes) => Ok(Bytes::copy_from_slice(bytes.as_bytes())),
        Err(_) => Err(PyTypeError::new_err("json_serialize must return a str or bytes")),
    }
}

/// Adds the headers of a mapping or a sequence of pairs; they replace those of the same name that `block` had.
pub(super) fn add_headers(block: &HeaderBlock, headers: &Bound<'_, PyAny>) -> PyResult<HeaderBlock> {
    let pairs = header_pairs(headers)?;
    let names: Vec<&str> = pairs.iter().map(|(name, _)| name.as_ref()).collect();
    let mut block = block.without(&names);
    for (name, value) in &pairs {
        if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(PyValueError::new_err("a body is sent in chunks by `chunked=True`, not by a header"));
        }
        block.push(name, value.as_bytes()).map_err(|error| header_error(&error))?;
    }
    Ok(block)
}

pub(super) fn header_error(error: &HeaderError) -> PyErr {
    PyValueError::new_err(error.to_string())
}

fn header_pairs(headers: &Bound<'_, PyAny>) -> PyResult<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    for item in items("headers", headers)? {
        let (name, value) = item?.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>().map_err(|_| {
            PyTypeError::new_err("headers must be a mapping or a sequence of pairs of name and value")
        })?;
        let name = name.str()?.to_cow()?.into_owned();
        if value.is_none() {
            return Err(PyTypeError::new_err(format!("the value of header `{name}` is None")));
        }
        let value = match value.cast::<PyBytes>() {
            Ok(bytes) => String::from_utf8_lossy(bytes.as_bytes()).into_owned(),
            Err(_) => value.str()?.to_cow()?.into_owned(),
        };
        pairs.push((name, value));
    }
    Ok(pairs)
}

/// Names and values of cookies: a mapping of texts, or of `http.cookies.Morsel`.
pub(super) fn cookie_pairs(cookies: &Bound<'_, PyAny>) -> PyResult<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    for item in items("cookies", cookies)? {
        let (name, value) = item?.extract::<(String, Bound<'_, PyAny>)>().map_err(|_| {
            PyTypeError::new_err("cookies must be a mapping or a sequence of pairs of name and value")
        })?;
        let value = match value.getattr_opt("coded_value")? {
            Some(coded) => coded,
            None => value,
        };
        let value = value.str()?.to_cow()?.into_owned();
        let breaks = |text: &str| text.contains(['\r', '\n', '\0', ';']);
        if breaks(&name) || breaks(&value) {
            return Err(PyValueError::new_err(format!(
                "cookie `{name}` has a `;`, a line break or a NUL in it"
            )));
        }
        pairs.push((name, value));
    }
    Ok(pairs)
}

/// Cookies as the value of a `Cookie` header; `None` for none.
pub(super) fn cookie_header<'a>(pairs: impl IntoIterator<Item = &'a (String, String)>) -> Option<String> {
    let parts: Vec<Cow<'a, str>> =
        pairs.into_iter().map(|(name, value)| Cow::from(format!("{name}={value}"))).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

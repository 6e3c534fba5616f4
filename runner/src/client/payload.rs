//! What a call sends: headers, cookies and the body, from what Python gives.

use std::borrow::Cow;

use bytes::Bytes;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyMemoryView, PyString};

use super::json_encode;
use super::target::pairs;
use crate::reactor::request::{HeaderBlock, HeaderError};

/// A body and what kind it is.
pub(super) struct Payload {
    pub(super) body: Bytes,
    pub(super) content_type: &'static str,
}

impl Payload {
    /// `block` with the body's type, unless it names one itself.
    pub(super) fn typed(&self, block: &HeaderBlock) -> PyResult<HeaderBlock> {
        let mut block = block.clone();
        if !block.contains("content-type") {
            let pushed = block.push("Content-Type", self.content_type.as_bytes());
            pushed.map_err(|error| header_error(&error))?;
        }
        Ok(block)
    }
}

/// The body of `data=…`.
pub(super) fn of_data(data: &Bound<'_, PyAny>) -> PyResult<Payload> {
    if let Ok(bytes) = data.cast::<PyBytes>() {
        return Ok(binary(bytes.as_bytes()));
    }
    if let Ok(text) = data.cast::<PyString>() {
        let body = Bytes::copy_from_slice(text.to_cow()?.as_bytes());
        return Ok(Payload { body, content_type: "text/plain; charset=utf-8" });
    }
    if data.is_instance_of::<PyByteArray>() || data.is_instance_of::<PyMemoryView>() {
        let bytes = data.py().get_type::<PyBytes>().call1((data,))?.cast_into::<PyBytes>()?;
        return Ok(binary(bytes.as_bytes()));
    }
    let listed =
        data.is_instance_of::<pyo3::types::PyList>() || data.is_instance_of::<pyo3::types::PyTuple>();
    if listed || data.is_instance_of::<PyDict>() || data.hasattr("items")? {
        let form =
            url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs("data", data)?).finish();
        return Ok(Payload { body: form.into(), content_type: "application/x-www-form-urlencoded" });
    }
    let kind = data.get_type().name()?;
    Err(PyTypeError::new_err(format!(
        "data must be bytes, str, a mapping or a sequence of pairs; {kind} is not supported"
    )))
}

fn binary(bytes: &[u8]) -> Payload {
    Payload { body: Bytes::copy_from_slice(bytes), content_type: "application/octet-stream" }
}

/// The body of `json=…`, by the session's `json_serialize`.
pub(super) fn of_json(serialize: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<Payload> {
    let body = match natively(serialize, value)? {
        Some(body) => body,
        None => serialized(&serialize.call1((value,))?)?,
    };
    Ok(Payload { body, content_type: "application/json" })
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
        block.push(name, value.as_bytes()).map_err(|error| header_error(&error))?;
    }
    Ok(block)
}

pub(super) fn header_error(error: &HeaderError) -> PyErr {
    PyValueError::new_err(error.to_string())
}

fn header_pairs(headers: &Bound<'_, PyAny>) -> PyResult<Vec<(String, String)>> {
    let items = match headers.getattr_opt("items")? {
        Some(items) => items.call0()?,
        None => headers.clone(),
    };
    let mut pairs = Vec::new();
    for item in items.try_iter()? {
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
    let items = match cookies.getattr_opt("items")? {
        Some(items) => items.call0()?,
        None => cookies.clone(),
    };
    let mut pairs = Vec::new();
    for item in items.try_iter()? {
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

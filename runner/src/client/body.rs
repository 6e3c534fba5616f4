//! The body of a reply: whole, as text, as JSON, or in pieces. Each function gives what is there or the waiter for it.

use bytes::Bytes;
use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use super::errors;
use super::json_decode;
use super::leaving::{Leaving, Outcome};
use super::response::Response;
use super::{driver, notify};
use crate::reactor::engine::engine;
use crate::reactor::{Leave, Wake};

/// A piece of a body, or what to wait for to get it.
pub(super) enum Piece {
    Wait(Py<PyAny>),
    Here(Py<PyAny>),
}

/// How much is taken at once where the scenario names no size.
const PIECE: usize = 64 * 1024;
/// The longest line: a body may well have no line feed at all, and no end.
const MAX_LINE: usize = 1024 * 1024;

/// Has the whole body in the response. `Some`: wait.
fn load(slf: &Bound<'_, Response>) -> PyResult<Option<Py<PyAny>>> {
    let py = slf.py();
    let undecoded = |error| errors::of_coding(py, error);
    let exchange = {
        let mut response = slf.borrow_mut();
        if response.whole.is_some() {
            return Ok(None);
        }
        if response.left {
            return Err(errors::closed(py));
        }
        if let Some(early) = response.early.take() {
            return response.keep_whole(early).map(|()| None).map_err(undecoded);
        }
        response.exchange.clone()
    };
    if let Some(waiter) = driver::wait(py, exchange.id, Wake::Body)? {
        return Ok(Some(waiter));
    }
    let (failure, aborted, bytes) = {
        let mut reactor = engine().lock();
        let failure = reactor.failure(exchange.id).cloned();
        let aborted = reactor.record_of(exchange.id).is_some();
        let bytes = if failure.is_none() && !aborted { reactor.take_body(exchange.id) } else { Bytes::new() };
        (failure, aborted, bytes)
    };
    let mut response = slf.borrow_mut();
    if failure.is_none() && !aborted {
        return response.keep_whole(bytes).map(|()| None).map_err(undecoded);
    }
    response.ended = true;
    let (asked, head) = (response.asked.clone(), response.head.clone());
    drop(response);
    Err(failure
        .map_or_else(|| errors::closed(py), |failure| errors::of_failure(py, &failure, &asked, Some(&head))))
}

/// The next piece, of at most `size` bytes as they came, is put behind `pending`. `Some`: wait. What is decoded may still be
/// nothing; at the end `whole` is there.
fn pull(slf: &Bound<'_, Response>, size: usize) -> PyResult<Option<Py<PyAny>>> {
    let py = slf.py();
    let undecoded = |error| errors::of_coding(py, error);
    let exchange = {
        let mut response = slf.borrow_mut();
        if response.whole.is_some() {
            return Ok(None);
        }
        if response.left {
            return Err(errors::closed(py));
        }
        if let Some(early) = response.early.take().filter(|early| !early.is_empty()) {
            return response.take_in(&early).map(|()| None).map_err(undecoded);
        }
        response.exchange.clone()
    };
    if let Some(waiter) = driver::wait(py, exchange.id, Wake::Chunk)? {
        return Ok(Some(waiter));
    }
    let (failure, aborted, bytes) = {
        let mut reactor = engine().lock();
        let aborted = reactor.record_of(exchange.id).is_some();
        let bytes = if aborted { Bytes::new() } else { reactor.take_chunk(exchange.id, size) };
        (reactor.failure(exchange.id).cloned(), aborted, bytes)
    };
    let mut response = slf.borrow_mut();
    if !bytes.is_empty() {
        return response.take_in(&bytes).map(|()| None).map_err(undecoded);
    }
    response.ended = true;
    if failure.is_none() && !aborted {
        response.whole = Some(Bytes::new());
        return response.finish().map(|()| None).map_err(undecoded);
    }
    let (asked, head) = (response.asked.clone(), response.head.clone());
    drop(response);
    Err(failure
        .map_or_else(|| errors::closed(py), |failure| errors::of_failure(py, &failure, &asked, Some(&head))))
}

/// The whole body, kept for later reads.
pub(super) fn bytes(slf: &Bound<'_, Response>) -> PyResult<Piece> {
    if let Some(waiter) = load(slf)? {
        return Ok(Piece::Wait(waiter));
    }
    let py = slf.py();
    let mut response = slf.borrow_mut();
    if response.whole_object.is_none() {
        let made = PyBytes::new(py, response.whole.as_deref().unwrap_or_default());
        response.whole_object = Some(made.unbind());
    }
    let kept = response.whole_object.as_ref().map(|bytes| bytes.clone_ref(py).into_any());
    Ok(Piece::Here(kept.unwrap_or_else(|| py.None())))
}

/// The whole body as text.
pub(super) fn text(slf: &Bound<'_, Response>, encoding: Option<&str>, errors: &str) -> PyResult<Piece> {
    if let Some(waiter) = load(slf)? {
        return Ok(Piece::Wait(waiter));
    }
    let whole = slf.borrow().whole.clone().unwrap_or_default();
    let encoding = chosen_encoding(slf, encoding)?;
    Ok(Piece::Here(decode(slf.py(), &whole, encoding.as_deref(), errors)?.into_any().unbind()))
}

/// The whole body as JSON; `None` if there is none.
pub(super) fn json(
    slf: &Bound<'_, Response>,
    content_type: Option<&str>,
    encoding: Option<&str>,
    loads: Option<&Py<PyAny>>,
) -> PyResult<Piece> {
    if let Some(waiter) = load(slf)? {
        return Ok(Piece::Wait(waiter));
    }
    let py = slf.py();
    if let Some(expected) = content_type {
        expect_content_type(slf, expected)?;
    }
    let whole = slf.borrow().whole.clone().unwrap_or_default();
    let stripped = whole.trim_ascii();
    if stripped.is_empty() {
        return Ok(Piece::Here(py.None()));
    }
    let encoding = chosen_encoding(slf, encoding)?;
    if loads.is_none()
        && encoding.is_none()
        && let Some(value) = json_decode::decode(py, stripped)
    {
        return Ok(Piece::Here(value.unbind()));
    }
    let text = decode(py, stripped, encoding.as_deref(), "strict")?;
    let loads = match loads {
        Some(loads) => loads.bind(py),
        None => imported!(py, "json", "loads")?,
    };
    Ok(Piece::Here(loads.call1((text,))?.unbind()))
}

fn expect_content_type(slf: &Bound<'_, Response>, expected: &str) -> PyResult<()> {
    let py = slf.py();
    if expected == "application/json" && slf.borrow().head.header("content-type") == Some(b"application/json")
    {
        return Ok(());
    }
    let found =
        slf.borrow().head.header("content-type").map(|value| String::from_utf8_lossy(value).to_lowercase());
    let found = found.unwrap_or_default();
    let media = found.split(';').next().unwrap_or_default().trim();
    let as_expected = if expected == "application/json" {
        media.strip_prefix("application/").is_some_and(|sub| sub == "json" || sub.ends_with("+json"))
    } else {
        found.contains(&expected.to_lowercase())
    };
    if as_expected {
        return Ok(());
    }
    let (asked, status) = {
        let response = slf.borrow();
        (response.asked.clone(), response.head.status)
    };
    let headers = Response::headers(slf)?;
    let make = imported!(py, "aiotest.exception", "_of_content_type")?;
    let error = make.call1((asked.info(py)?, status, media, headers))?;
    Err(PyErr::from_value(error))
}

/// The encoding that was asked for, or that the reply names; `None`: UTF-8.
fn chosen_encoding(slf: &Bound<'_, Response>, asked: Option<&str>) -> PyResult<Option<String>> {
    let encoding = asked.map(str::to_owned).or_else(|| slf.borrow().charset_name());
    let Some(encoding) = encoding else { return Ok(None) };
    if encoding.eq_ignore_ascii_case("utf-8") || encoding.eq_ignore_ascii_case("utf8") {
        return Ok(None);
    }
    if asked.is_none() {
        // A charset that Python does not know is no reason to fail: the reply may be plain UTF-8 all the same.
        let known = imported!(slf.py(), "codecs", "lookup")?.call1((&encoding,));
        return Ok(known.is_ok().then_some(encoding));
    }
    Ok(Some(encoding))
}

fn decode<'py>(
    py: Python<'py>,
    bytes: &[u8],
    encoding: Option<&str>,
    errors: &str,
) -> PyResult<Bound<'py, PyString>> {
    if encoding.is_none()
        && let Ok(text) = std::str::from_utf8(bytes)
    {
        return Ok(PyString::new(py, text));
    }
    let bytes = PyBytes::new(py, bytes);
    let text = bytes.call_method1(intern!(py, "decode"), (encoding.unwrap_or("utf-8"), errors))?;
    Ok(text.cast_into::<PyString>()?)
}

/// At most `size` bytes as soon as there are some; nothing at the end.
pub(super) fn chunk(slf: &Bound<'_, Response>, size: usize) -> PyResult<Piece> {
    while slf.borrow().pending.is_empty() && slf.borrow().whole.is_none() {
        if let Some(waiter) = pull(slf, size)? {
            return Ok(Piece::Wait(waiter));
        }
    }
    let mut response = slf.borrow_mut();
    let size = size.min(response.pending.len());
    let piece = response.pending.split_to(size);
    Ok(here(slf.py(), &piece))
}

/// All that has not been taken; it is not kept.
pub(super) fn rest(slf: &Bound<'_, Response>) -> PyResult<Piece> {
    if let Some(waiter) = load(slf)? {
        return Ok(Piece::Wait(waiter));
    }
    let mut response = slf.borrow_mut();
    if response.whole_object.is_some() {
        return Ok(here(slf.py(), b""));
    }
    let whole = response.whole.replace(Bytes::new()).unwrap_or_default();
    let pending = response.pending.split();
    Ok(here(slf.py(), &[&pending[..], &whole[..]].concat()))
}

/// Up to and with the next line feed, or to the end.
pub(super) fn line(slf: &Bound<'_, Response>) -> PyResult<Piece> {
    let mut searched = 0;
    loop {
        let mut response = slf.borrow_mut();
        if let Some(at) = response.pending[searched..].iter().position(|byte| *byte == b'\n') {
            let line = response.pending.split_to(searched + at + 1);
            return Ok(here(slf.py(), &line));
        }
        searched = response.pending.len();
        if response.whole.is_some() {
            let line = response.pending.split();
            return Ok(here(slf.py(), &line));
        }
        drop(response);
        if MAX_LINE < searched {
            let text = format!("a line of the body is longer than {MAX_LINE} bytes");
            return Err(PyValueError::new_err(text));
        }
        if let Some(waiter) = pull(slf, PIECE)? {
            return Ok(Piece::Wait(waiter));
        }
    }
}

fn here(py: Python<'_>, bytes: &[u8]) -> Piece {
    Piece::Here(PyBytes::new(py, bytes).into_any().unbind())
}

/// In the plain `await` form the end of the body is the end of the call: it is recorded, and the handlers are told.
pub(super) fn end_of_await(slf: &Bound<'_, Response>, outcome: Outcome) -> PyResult<Leaving> {
    let mut response = slf.borrow_mut();
    if !response.ended || response.block || response.left {
        return Ok(Leaving::done(outcome));
    }
    response.left = true;
    let exchange = response.exchange.clone();
    drop(response);
    let record = exchange.leave(slf.py(), Leave::Await(exchange.verdict()));
    Leaving::new(slf.py(), &exchange, record.as_ref(), outcome)
}

/// A task that was reading was stopped by `error`: the exchange is of no more use.
pub(super) fn cut(slf: &Bound<'_, Response>, error: &PyErr) {
    let py = slf.py();
    let (exchange, told_later) = {
        let mut response = slf.borrow_mut();
        let told_later = response.block || response.left;
        response.left |= !response.block;
        (response.exchange.clone(), told_later)
    };
    if let Some(record) = exchange.abort(py, errors::abort_of(py, error))
        && !told_later
    {
        notify::detached(py, &record);
    }
}

//! `Response`: the reply to a call, with the surface of aiohttp's, and the scenario's verdict on it.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use pyo3::exceptions::{PyRuntimeWarning, PyTypeError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};

use super::content::Content;
use super::errors::{self, Asked};
use super::exchange::Exchange;
use super::leaving::{Leaving, Outcome};
use super::session::ClientSession;
use super::step::{Step, Want};
use super::websocket::WebSocketStream;
use super::{notify, verdict};
use crate::coding::{Coding, CodingError, Decoder};
use crate::frames::Frames;
use crate::reactor::MAX_BODY;
use crate::reactor::response::Head;
use crate::reactor::{Abort, Leave, Verdict};

/// The reply to a call.
#[pyclass(module = "aiotest._native", freelist = 256, weakref)]
pub(super) struct Response {
    pub(super) exchange: Arc<Exchange>,
    /// Keeps the session, and so its connections, while the reply is read.
    session: Option<Py<ClientSession>>,
    pub(super) head: Arc<Head>,
    history: Vec<Arc<Head>>,
    pub(super) asked: Asked,
    pub(super) block: bool,
    /// The block was left, or the plain form released.
    pub(super) left: bool,
    /// Nothing more of the body is to be had from the reactor.
    pub(super) ended: bool,
    /// The whole body, if it came with the head, until somebody wants it.
    pub(super) early: Option<Bytes>,
    pub(super) whole: Option<Bytes>,
    pub(super) whole_object: Option<Py<PyBytes>>,
    /// Taken from the reactor and decoded, but not taken by the scenario.
    pub(super) pending: BytesMut,
    decoder: Option<Decoder>,
    headers: Option<Py<PyAny>>,
    url: Option<Py<PyAny>>,
    cookies: Option<Py<PyAny>>,
}

/// What has come of a reply when it is given away.
pub(super) struct Received {
    pub(super) head: Arc<Head>,
    pub(super) history: Vec<Arc<Head>>,
    /// The whole body, if it came with the head.
    pub(super) body: Option<Bytes>,
    pub(super) decodes: bool,
}

impl Response {
    pub(super) fn new(
        exchange: Arc<Exchange>,
        session: Option<Py<ClientSession>>,
        received: Received,
        asked: Asked,
        block: bool,
    ) -> Self {
        let coding = received.head.header("content-encoding").filter(|_| received.decodes);
        let decoder = coding.and_then(Coding::named).map(|coding| Decoder::new(coding, MAX_BODY));
        Self {
            exchange,
            session,
            head: received.head,
            history: received.history,
            asked,
            block,
            left: false,
            ended: false,
            early: received.body,
            whole: None,
            whole_object: None,
            pending: BytesMut::new(),
            decoder,
            headers: None,
            url: None,
            cookies: None,
        }
    }

    /// Keeps what was left of the body, behind what was streamed of it.
    pub(super) fn keep_whole(&mut self, rest: Bytes) -> Result<(), CodingError> {
        self.ended = true;
        if self.decoder.is_some() {
            self.take_in(&rest)?;
            self.finish()?;
            self.whole = Some(self.pending.split().freeze());
            return Ok(());
        }
        let streamed = self.pending.split();
        self.whole = Some(if streamed.is_empty() { rest } else { [streamed.freeze(), rest].concat().into() });
        Ok(())
    }

    /// What has come of the body is put behind what is pending.
    pub(super) fn take_in(&mut self, bytes: &[u8]) -> Result<(), CodingError> {
        if let Some(decoder) = &mut self.decoder {
            return decoder.feed(bytes, &mut self.pending);
        }
        self.pending.extend_from_slice(bytes);
        Ok(())
    }

    /// Nothing more will come.
    pub(super) fn finish(&mut self) -> Result<(), CodingError> {
        self.ended = true;
        self.decoder.take().map_or(Ok(()), |mut decoder| decoder.finish(&mut self.pending))
    }

    /// The call ends without this object.
    pub(super) fn give_up(&mut self) {
        self.left = true;
    }

    /// The charset that the reply names.
    pub(super) fn charset_name(&self) -> Option<String> {
        let value = self.head.header("content-type").filter(|value| value.contains(&b';'))?;
        let value = String::from_utf8_lossy(value);
        value.split(';').skip(1).find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"').to_owned())
        })
    }

    /// The exception of a status of 400 or more.
    pub(super) fn status_error(slf: &Bound<'_, Self>) -> Option<PyErr> {
        let (head, asked) = (slf.borrow().head.clone(), slf.borrow().asked.clone());
        if head.status < 400 {
            return None;
        }
        let error = match Self::headers(slf) {
            Ok(headers) => errors::of_status(slf.py(), &head, &asked, &headers),
            Err(error) => error,
        };
        errors::mark_recorded(slf.py(), &error);
        Some(error)
    }

    pub(super) fn headers<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        if let Some(headers) = &slf.borrow().headers {
            return Ok(headers.bind(py).clone());
        }
        let head = slf.borrow().head.clone();
        let pairs = PyList::empty(py);
        for (name, value) in head.headers() {
            pairs.append((header_text(py, name)?, header_text(py, value)?))?;
        }
        let made = imported!(py, "aiotest.client", "_headers")?.call1((pairs,))?;
        slf.borrow_mut().headers = Some(made.clone().unbind());
        Ok(made)
    }

    fn mark(slf: &Bound<'_, Self>, verdict: Verdict) -> PyResult<()> {
        if slf.borrow().left || slf.borrow().exchange.is_over() {
            let category = slf.py().get_type::<PyRuntimeWarning>();
            let text = c"the call has been recorded already; success() and failure() change nothing any more";
            return PyErr::warn(slf.py(), &category, text, 1);
        }
        slf.borrow().exchange.mark(verdict);
        Ok(())
    }

    /// The plain form is let go of; in a block the body alone is.
    fn let_go<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let mut response = slf.borrow_mut();
        let leaves = !response.block && !response.left;
        response.left |= !response.block;
        let exchange = response.exchange.clone();
        drop(response);
        if leaves && let Some(record) = exchange.leave(py, Leave::Await(exchange.verdict())) {
            notify::detached(py, &record);
        }
        Ok(Py::new(py, Step::value(py.None()))?.into_bound(py).into_any())
    }
}

fn header_text<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyString>> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Ok(PyString::new(py, text));
    }
    let bytes = PyBytes::new(py, bytes);
    Ok(bytes.call_method1("decode", ("utf-8", "surrogateescape"))?.cast_into::<PyString>()?)
}

#[pymethods]
impl Response {
    #[getter]
    fn status(&self) -> u16 {
        self.head.status
    }

    /// As aiohttp's `HttpVersion`.
    #[getter]
    fn version<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        imported!(py, "aiotest.client", "HttpVersion")?.call1(self.head.version)
    }

    #[getter]
    fn reason(&self) -> &str {
        self.head.reason()
    }

    #[getter]
    fn method(&self) -> &str {
        &self.head.method
    }

    #[getter]
    fn ok(&self) -> bool {
        self.head.status < 400
    }

    #[getter]
    fn host(&self) -> Option<&str> {
        self.head.target.url.host_str()
    }

    #[getter]
    fn url<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        if let Some(url) = &slf.borrow().url {
            return Ok(url.bind(py).clone());
        }
        let text = slf.borrow().head.target.url.as_str().to_owned();
        let made = imported!(py, "aiotest.client", "_url")?.call1((text,))?;
        slf.borrow_mut().url = Some(made.clone().unbind());
        Ok(made)
    }

    #[getter]
    fn real_url<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Self::url(slf)
    }

    #[getter(headers)]
    fn headers_object<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Self::headers(slf)
    }

    #[getter]
    fn cookies<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        if let Some(cookies) = &slf.borrow().cookies {
            return Ok(cookies.bind(py).clone());
        }
        let headers = Self::headers(slf)?;
        let made = imported!(py, "aiotest.client", "_cookies")?.call1((headers,))?;
        slf.borrow_mut().cookies = Some(made.clone().unbind());
        Ok(made)
    }

    #[getter]
    fn content_type(&self) -> String {
        let value = self.head.header("content-type").map(String::from_utf8_lossy).unwrap_or_default();
        let media = value.split(';').next().unwrap_or_default().trim().to_lowercase();
        let is_type = media.split('/').count() == 2;
        if is_type { media } else { "application/octet-stream".to_owned() }
    }

    #[getter]
    fn charset(&self) -> Option<String> {
        self.charset_name()
    }

    /// The replies that redirected here, oldest first.
    #[getter]
    fn history<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        let py = slf.py();
        let (exchange, hops, asked) = {
            let response = slf.borrow();
            (response.exchange.clone(), response.history.clone(), response.asked.clone())
        };
        let hops = hops.into_iter().map(|head| {
            let received = Received { head, history: Vec::new(), body: None, decodes: false };
            let mut hop = Self::new(exchange.clone(), None, received, asked.clone(), true);
            hop.give_up();
            Py::new(py, hop)
        });
        PyTuple::new(py, hops.collect::<PyResult<Vec<_>>>()?)
    }

    #[getter]
    fn request_info<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let asked = slf.borrow().asked.clone();
        asked.info(slf.py())
    }

    #[getter]
    fn content(slf: &Bound<'_, Self>) -> Content {
        Content::of(slf)
    }

    #[getter]
    fn closed(&self) -> bool {
        self.left || self.ended
    }

    fn read(slf: &Bound<'_, Self>) -> Step {
        Step::of(slf, Want::Bytes)
    }

    #[pyo3(signature = (encoding=None, errors="strict"))]
    fn text(slf: &Bound<'_, Self>, encoding: Option<String>, errors: &str) -> Step {
        Step::of(slf, Want::Text { encoding, errors: errors.to_owned() })
    }

    #[pyo3(signature = (*, encoding=None, loads=None, content_type=Some("application/json")))]
    fn json(
        slf: &Bound<'_, Self>,
        encoding: Option<String>,
        loads: Option<Py<PyAny>>,
        content_type: Option<&str>,
    ) -> Step {
        Step::of(slf, Want::Json { content_type: content_type.map(str::to_owned), encoding, loads })
    }

    fn raise_for_status(slf: &Bound<'_, Self>) -> PyResult<()> {
        let Some(error) = Self::status_error(slf) else { return Ok(()) };
        Self::let_go(slf)?;
        Err(error)
    }

    /// The call is a success, whatever the status is.
    fn success(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::mark(slf, Verdict::Success)
    }

    /// The call is a failure with that text.
    fn failure(slf: &Bound<'_, Self>, exc: &Bound<'_, PyAny>) -> PyResult<()> {
        if exc.is_none() {
            return Err(PyTypeError::new_err("failure() needs an exception or a text"));
        }
        Self::mark(slf, Verdict::Failure(verdict::text_of(exc)))
    }

    fn release<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Self::let_go(slf)
    }

    fn close(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::let_go(slf).map(drop)
    }

    /// Awaited, it gives the connection, which is a WebSocket from here on: the call has been recorded as a success.
    fn _websocket<'py>(
        slf: &Bound<'py, Self>,
        max_message: usize,
        deflate: Option<(bool, bool)>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let (exchange, session, asked, early) = {
            let mut response = slf.borrow_mut();
            response.left = true;
            let session = response.session.as_ref().map(|session| session.clone_ref(py));
            (response.exchange.clone(), session, response.asked.clone(), response.early.take())
        };
        let Some(record) = exchange.accept_upgrade(py) else { return Err(errors::closed(py)) };
        let stream =
            WebSocketStream::new(exchange.clone(), session, asked, Frames::new(max_message, deflate), early);
        let stream = Py::new(py, stream)?.into_any();
        let leaving = Leaving::new(py, &exchange, Some(&record), Outcome::Return(stream))?;
        Ok(Py::new(py, Step::leave(leaving))?.into_bound(py).into_any())
    }

    fn __aenter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.borrow_mut().block = true;
        Ok(Py::new(slf.py(), Step::value(slf.clone().into_any().unbind()))?.into_bound(slf.py()).into_any())
    }

    fn __aexit__<'py>(
        slf: &Bound<'py, Self>,
        kind: &Bound<'py, PyAny>,
        error: &Bound<'py, PyAny>,
        traceback: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let _ = (kind, traceback);
        verdict::leave_block(slf, error)
    }

    fn __repr__(&self) -> String {
        format!("<Response({}) [{} {}]>", self.head.target.url, self.head.status, self.head.reason())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.session)?;
        visit.call(&self.whole_object)?;
        visit.call(&self.headers)?;
        visit.call(&self.url)?;
        visit.call(&self.cookies)
    }

    fn __clear__(&mut self) {
        self.session = None;
        self.whole_object = None;
        self.headers = None;
        self.url = None;
        self.cookies = None;
    }
}

impl Drop for Response {
    fn drop(&mut self) {
        if self.left || self.exchange.is_over() {
            return;
        }
        // Nobody will say more: in the plain form this is the end of the call, in a block that was never left a cut.
        Python::try_attach(|py| {
            let record = if self.block {
                self.exchange.abort(py, Abort::Collected)
            } else {
                self.exchange.leave(py, Leave::Await(self.exchange.verdict()))
            };
            if let Some(record) = record {
                notify::detached(py, &record);
            }
        });
    }
}

/// The end of a reply's block, which waits only if it must.
pub(super) fn ended_block(py: Python<'_>, leaving: Leaving, swallow: bool) -> PyResult<Bound<'_, PyAny>> {
    if leaving.is_over() {
        return Step::left(py, swallow);
    }
    Ok(Py::new(py, Step::leave(leaving))?.into_bound(py).into_any())
}

/// What the end of a block gives to the interpreter: whether the exception ends there.
pub(super) fn swallowed(py: Python<'_>, swallow: bool) -> Outcome {
    Outcome::Return(pyo3::types::PyBool::new(py, swallow).to_owned().into_any().unbind())
}

//! Failures of the engine as Python exceptions, and who cancelled a call.

use std::sync::Arc;

use pyo3::exceptions::asyncio::CancelledError;
use pyo3::exceptions::{PyGeneratorExit, PyTimeoutError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::coding::CodingError;
use crate::reactor::Abort;
use crate::reactor::failure::{Failure, FailureKind};
use crate::reactor::request::{HeaderBlock, Target};
use crate::reactor::response::Head;
use crate::reactor::route::Route;

/// What a call asked for, as exceptions and `request_info` tell it.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) method: Arc<str>,
    pub(super) target: Arc<Target>,
    pub(super) headers: Arc<HeaderBlock>,
    pub(super) route: Option<Arc<Route>>,
}

impl Asked {
    /// As aiohttp's `RequestInfo`.
    pub(super) fn info<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let headers = PyBytes::new(py, self.headers.as_bytes());
        let make = imported!(py, "aiotest.client", "_request_info")?;
        make.call1((&*self.method, self.target.url.as_str(), headers))
    }
}

/// The exception of a call that has no whole reply. It says that the call has been recorded.
pub(super) fn of_failure(py: Python<'_>, failure: &Failure, asked: &Asked, head: Option<&Head>) -> PyErr {
    let made = (|| {
        let target = head.map_or(&asked.target, |head| &head.target);
        let proxy =
            asked.route.as_ref().filter(|_| failure.kind.is_proxys()).and_then(|route| route.proxy(target));
        let authority = proxy.map_or(&*target.authority, |proxy| &proxy.authority);
        imported!(py, "aiotest.exception", "_of_failure")?.call1((
            family(failure.kind),
            failure.to_string(),
            asked.info(py)?,
            (&authority.host, authority.port, authority.tls),
            head.is_some(),
        ))
    })();
    let error = made.map_or_else(|error| error, PyErr::from_value);
    mark_recorded(py, &error);
    error
}

/// `ClientResponseError` of a status of 400 or more.
pub(super) fn of_status(py: Python<'_>, head: &Head, asked: &Asked, headers: &Bound<'_, PyAny>) -> PyErr {
    let made = (|| {
        let make = imported!(py, "aiotest.exception", "_of_status")?;
        make.call1((asked.info(py)?, head.status, head.reason(), headers))
    })();
    made.map_or_else(|error| error, PyErr::from_value)
}

/// The body cannot be had any more: released, or left behind.
pub(super) fn closed(py: Python<'_>) -> PyErr {
    let made = imported!(py, "aiotest.exception", "ClientConnectionError")
        .and_then(|class| class.call1(("Connection closed",)));
    made.map_or_else(|error| error, PyErr::from_value)
}

/// The body is not what its Content-Encoding says.
pub(super) fn of_coding(py: Python<'_>, error: CodingError) -> PyErr {
    let made = imported!(py, "aiotest.exception", "ClientPayloadError")
        .and_then(|class| class.call1((error.to_string(),)));
    made.map_or_else(|error| error, PyErr::from_value)
}

/// What was given is no URL that a call can be made to.
pub(super) fn invalid_url(py: Python<'_>, url: &str, reason: &str) -> PyErr {
    let made = imported!(py, "aiotest.exception", "InvalidURL").and_then(|class| class.call1((url, reason)));
    made.map_or_else(|error| error, PyErr::from_value)
}

/// Says on an exception that its call has been recorded.
pub(super) fn mark_recorded(py: Python<'_>, error: &PyErr) {
    // An exception class with `__slots__` cannot carry the mark; its call has been recorded all the same.
    let _ = error.value(py).setattr(intern!(py, "aiotest_recorded"), true);
}

/// Whether the exception is one of a recorded call.
pub(super) fn is_recorded(error: &Bound<'_, PyAny>) -> bool {
    let mark = error.getattr_opt(intern!(error.py(), "aiotest_recorded"));
    mark.is_ok_and(|mark| mark.is_some_and(|mark| mark.is_truthy().unwrap_or(false)))
}

/// As what a call is cut when a waiting task is cancelled: called from `cancel` only, whose caller tells a timeout from
/// a plain cancel.
pub(super) fn canceller(py: Python<'_>) -> PyResult<Abort> {
    let timed_out = imported!(py, "aiotest.client", "_cancelled_by_timeout")?.call0()?.is_truthy()?;
    Ok(if timed_out { Abort::TimedOut } else { Abort::Cancelled })
}

/// As what a call is cut when this was thrown into it.
pub(super) fn abort_of(py: Python<'_>, error: &PyErr) -> Abort {
    if error.is_instance_of::<CancelledError>(py) {
        Abort::Cancelled
    } else if error.is_instance_of::<PyTimeoutError>(py) {
        Abort::TimedOut
    } else if error.is_instance_of::<PyGeneratorExit>(py) {
        Abort::Collected
    } else {
        Abort::Cancelled
    }
}

/// The family of exceptions that a kind belongs to, as `aiotest.exception` knows it.
const fn family(kind: FailureKind) -> &'static str {
    use FailureKind as Kind;
    match kind {
        Kind::NameNotFound | Kind::ResolverFailed | Kind::ProxyNotFound => "name_not_found",
        Kind::Refused => "refused",
        Kind::Unreachable | Kind::OutOfPorts | Kind::SourceUnavailable => "unreachable",
        Kind::OutOfFiles => "out_of_files",
        Kind::OutOfMemory => "out_of_memory",
        Kind::ConnectTimeout => "connect_timeout",
        Kind::ReadTimeout => "read_timeout",
        Kind::TotalTimeout => "total_timeout",
        Kind::ResetBeforeReply | Kind::ResetInReply => "reset",
        Kind::ClosedBeforeReply
        | Kind::ProxyClosed
        | Kind::ClosedInReply
        | Kind::StreamReset
        | Kind::StreamRefused
        | Kind::ConnectionEnded => "closed",
        Kind::NoHttp
        | Kind::HeaderMalformed
        | Kind::HeadTooLong
        | Kind::TooManyHeaders
        | Kind::LengthInvalid
        | Kind::CodingUnknown
        | Kind::ProtocolSwitched
        | Kind::TooManyInterim
        | Kind::ProxyNoHttp
        | Kind::Http2NotSpoken
        | Kind::Http2Broken
        | Kind::Http2Unsendable => "no_http",
        // Of the body, so that there is a head, and a payload error whatever the family.
        Kind::ChunkSizeInvalid
        | Kind::ChunkLineTooLong
        | Kind::ChunkEndMissing
        | Kind::TrailersTooLong
        | Kind::BodyTooLong => "payload",
        Kind::TlsExpired
        | Kind::TlsNotYetValid
        | Kind::TlsUnknownIssuer
        | Kind::TlsWrongHost
        | Kind::TlsCertificateInvalid => "certificate",
        Kind::TlsNotSpoken
        | Kind::TlsNothingInCommon
        | Kind::TlsRefused
        | Kind::TlsCertificateWanted
        | Kind::TlsCut
        | Kind::TlsBroken
        | Kind::TlsUnavailable => "tls",
        Kind::UploadFailed => "upload",
        Kind::TlsOtherFingerprint => "fingerprint",
        Kind::ProxyUnreachable => "proxy_unreachable",
        Kind::ProxyAuthorization | Kind::ProxyRefused => "proxy_refused",
        Kind::TooManyRedirects | Kind::RedirectInvalid => "redirects",
    }
}

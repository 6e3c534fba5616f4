//! A body that is streamed: `aiotest.uploads` takes its pieces from the scenario and says them here, beside the task whose
//! call it is.

use std::sync::Arc;

use pyo3::prelude::*;

use super::errors;
use super::exchange::Exchange;
use super::said::Said;
use crate::reactor::engine::engine;

/// The body of one call, while it goes out.
#[pyclass(module = "aiotest._native", frozen)]
pub(super) struct Upload {
    exchange: Arc<Exchange>,
    /// Piece by piece as they come; otherwise its length was told.
    chunked: bool,
}

impl Upload {
    /// Has `pieces` sent as the body of a call that has started.
    pub(super) fn begin(py: Python<'_>, exchange: &Arc<Exchange>, body: Streamed) -> PyResult<()> {
        let upload = Self { exchange: Arc::clone(exchange), chunked: body.chunked };
        imported!(py, "aiotest.uploads", "begin")?.call1((upload, body.pieces)).map(drop)
    }

    fn say(&self, py: Python<'_>, data: &[u8]) -> PyResult<Said> {
        let said = engine().lock().say(self.exchange.id, data);
        match said {
            Ok(()) => Ok(Said::drained(&self.exchange)),
            Err(_) => Err(errors::closed(py)),
        }
    }
}

/// What is to be sent, and how.
pub(super) struct Streamed {
    pub(super) pieces: Py<PyAny>,
    pub(super) chunked: bool,
}

#[pymethods]
impl Upload {
    /// Awaited, it waits until the first piece can be sent.
    fn ready(&self) -> Said {
        Said::drained(&self.exchange)
    }

    /// Whether the call has ended, so that nothing more is to be sent.
    #[getter]
    fn over(&self) -> bool {
        engine().lock().body_ended(self.exchange.id)
    }

    /// Sends a piece, of at least one byte; awaited, it waits while the server takes less than is sent.
    fn write(&self, py: Python<'_>, piece: &[u8]) -> PyResult<Said> {
        if !self.chunked || piece.is_empty() {
            return self.say(py, piece);
        }
        self.say(py, &[format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat())
    }

    /// There are no more pieces.
    fn end(&self, py: Python<'_>) -> PyResult<()> {
        if self.chunked {
            self.say(py, b"0\r\n\r\n")?;
        }
        engine().lock().end_upload(self.exchange.id);
        Ok(())
    }

    /// The next piece cannot be had: the call fails.
    fn fail(&self, why: String) {
        engine().lock().fail_upload(self.exchange.id, why);
    }
}

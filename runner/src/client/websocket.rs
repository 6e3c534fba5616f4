//! The two ends of a WebSocket as `aiotest.websocket` uses them: messages that come, and messages that are sent.
//!
//! What the connection is to the run (when it is opened, when it is cut) is `reactor::upgrade`'s; what pings and closes are
//! answered with is decided in Python. Start at [`WebSocketStream::receive`].

use std::sync::Arc;

use aws_lc_rs::rand;
use bytes::Bytes;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::driver;
use super::errors::{self, Asked};
use super::exchange::Exchange;
use super::resumed::Resumed;
use super::said::Said;
use super::session::ClientSession;
use crate::frames::{Breach, Frames, Message, Opcode};
use crate::reactor::Wake;
use crate::reactor::engine::engine;
use crate::reactor::upload::Unsaid;

/// How much is taken from the connection at once.
const PIECE: usize = 64 * 1024;

/// A connection that speaks WebSocket.
#[pyclass(module = "aiotest._native", weakref)]
pub(super) struct WebSocketStream {
    exchange: Arc<Exchange>,
    /// Keeps the session, and so the connection.
    session: Option<Py<ClientSession>>,
    asked: Asked,
    frames: Frames,
}

impl WebSocketStream {
    pub(super) fn new(
        exchange: Arc<Exchange>,
        session: Option<Py<ClientSession>>,
        asked: Asked,
        mut frames: Frames,
        early: Option<Bytes>,
    ) -> Self {
        frames.feed(&early.unwrap_or_default());
        Self { exchange, session, asked, frames }
    }

    /// The next message, or what to wait for. `None` at the end of the connection.
    pub(super) fn advance(slf: &Bound<'_, Self>) -> PyResult<Resumed> {
        let py = slf.py();
        loop {
            let message = slf.borrow_mut().frames.take().map_err(|breach| of_breach(py, &breach))?;
            if let Some(message) = message {
                return Ok(Resumed::Returned(given(py, message)?));
            }
            let id = slf.borrow().exchange.id;
            if let Some(waiter) = driver::wait(py, id, Wake::Chunk)? {
                return Ok(Resumed::Suspended(waiter));
            }
            let (bytes, failure) = {
                let mut reactor = engine().lock();
                (reactor.take_chunk(id, PIECE), reactor.failure(id).cloned())
            };
            if !bytes.is_empty() {
                slf.borrow_mut().frames.feed(&bytes);
            } else if let Some(failure) = failure {
                return Err(errors::of_failure(py, &failure, &slf.borrow().asked, None));
            } else {
                return Ok(Resumed::Returned(py.None()));
            }
        }
    }
}

/// Number, payload, and the reason of a close.
fn given(py: Python<'_>, message: Message) -> PyResult<Py<PyAny>> {
    let of_bytes = |opcode: Opcode, bytes: &Bytes| {
        (opcode.number(), PyBytes::new(py, bytes), py.None())
            .into_pyobject(py)
            .map(|made| made.into_any().unbind())
    };
    match message {
        Message::Text(text) => {
            Ok((Opcode::Text.number(), text, py.None()).into_pyobject(py)?.into_any().unbind())
        }
        Message::Binary(bytes) => of_bytes(Opcode::Binary, &bytes),
        Message::Ping(bytes) => of_bytes(Opcode::Ping, &bytes),
        Message::Pong(bytes) => of_bytes(Opcode::Pong, &bytes),
        Message::Close(code, reason) => {
            Ok((Opcode::Close.number(), code, reason).into_pyobject(py)?.into_any().unbind())
        }
    }
}

fn of_breach(py: Python<'_>, breach: &Breach) -> PyErr {
    let made = imported!(py, "aiotest.exception", "WebSocketError")
        .and_then(|class| class.call1((breach.code, &breach.text)));
    made.map_or_else(|error| error, PyErr::from_value)
}

#[pymethods]
impl WebSocketStream {
    /// The next message as a tuple: opcode, payload (text, bytes, or the code of a close), reason of a close. `None`: the
    /// connection has ended.
    fn receive(slf: &Bound<'_, Self>) -> Said {
        Said::message(slf)
    }

    /// Sends a message; over at once, unless the server takes less than is sent.
    fn send(slf: &Bound<'_, Self>, opcode: u8, payload: &Bound<'_, PyAny>) -> PyResult<Said> {
        let py = slf.py();
        let opcode = Opcode::of(opcode).ok_or_else(|| PyValueError::new_err("no opcode of a WebSocket"))?;
        let mut mask = [0; 4];
        rand::fill(&mut mask).map_err(|_| PyRuntimeError::new_err("the system gives no random numbers"))?;
        let frame = {
            let frames = &mut slf.borrow_mut().frames;
            match payload.cast::<PyBytes>() {
                Ok(bytes) => frames.encode(opcode, bytes.as_bytes(), mask),
                Err(_) => frames.encode(opcode, payload.extract::<&str>()?.as_bytes(), mask),
            }
        };
        let said = engine().lock().say(slf.borrow().exchange.id, &frame);
        match said {
            Ok(()) => Ok(Said::drained(&slf.borrow().exchange)),
            Err(Unsaid::Closed) => Err(errors::closed(py)),
            Err(Unsaid::Failed(failure)) => Err(errors::of_failure(py, &failure, &slf.borrow().asked, None)),
        }
    }

    /// Closes the connection, whatever the server says.
    fn cut(&self, py: Python<'_>) -> PyResult<()> {
        engine().lock().hang_up(self.exchange.id);
        driver::look_again(py, self.exchange.id)
    }

    /// Bytes that have come so far.
    #[getter]
    fn heard(&self) -> u64 {
        engine().lock().heard(self.exchange.id)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.session)
    }

    fn __clear__(&mut self) {
        self.session = None;
    }
}

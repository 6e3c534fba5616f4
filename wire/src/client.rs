//! What a parent or an operator asks of the run's master, over the control port. Holds no state but the address and
//! the token. Start at [`MasterClient::new`].

use std::time::Duration;

use aiotest_core::message::{Departure, LiveSpec, RunnerDeparture, Status, StopReason};
use aiotest_core::report::Report;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;

/// The longest reply that is read, in bytes: a report of 500 names and as many errors is a small part of it.
const LONGEST_REPLY: usize = 64 * 1024 * 1024;
/// How long one call may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why the master did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No client could be made.
    #[error("failed to prepare calls to the master")]
    Client(#[source] reqwest::Error),
    /// No reply.
    #[error("failed to reach the master for {path}")]
    Unreachable {
        /// What was asked.
        path: &'static str,
        /// What went wrong on the way.
        source: reqwest::Error,
    },
    /// The master said no.
    #[error("the master refused {path}: {status} {text}")]
    Refused {
        /// What was asked.
        path: &'static str,
        /// The reply's status.
        status: StatusCode,
        /// The start of the reply.
        text: String,
    },
    /// A reply that is none of the protocol.
    #[error("failed to read the master's reply to {path}")]
    Unreadable {
        /// What was asked.
        path: &'static str,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A reply without end.
    #[error("the master's reply to {path} is longer than {LONGEST_REPLY} bytes")]
    TooLong {
        /// What was asked.
        path: &'static str,
    },
}

impl Error {
    /// Whether the same call may succeed later.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, .. } => status.is_server_error(),
            Self::Client(_) | Self::Unreadable { .. } | Self::TooLong { .. } => false,
        }
    }
}

/// A master that can be asked. Clones share its connections.
#[derive(Clone, Debug)]
pub struct MasterClient {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl MasterClient {
    /// For the master at `address` (`host:port`), with the run's token.
    pub fn new(address: &str, token: &str) -> Result<Self, Error> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(PATIENCE)
            .timeout(PATIENCE)
            .build()
            .map_err(Error::Client)?;
        Ok(Self { http, base: format!("http://{address}"), token: token.to_owned() })
    }

    /// The live figures.
    pub async fn status(&self) -> Result<Status, Error> {
        let path = "/v1/status";
        let (_, body) = self.call(path, self.request(Method::GET, path)).await?;
        read(path, &body)
    }

    /// Ends the load; the run then drains.
    pub async fn stop(&self, reason: StopReason) -> Result<(), Error> {
        let path = "/v1/stop";
        let body = serde_json::json!({ "reason": reason });
        self.call(path, self.request(Method::POST, path).json(&body)).await.map(drop)
    }

    /// Tells of a process that its parent saw die.
    pub async fn departed(&self, departure: &Departure) -> Result<(), Error> {
        let path = "/v1/departed";
        self.call(path, self.request(Method::POST, path).json(departure)).await.map(drop)
    }

    /// Tells of a runner whose pod was seen to end.
    pub async fn departed_runner(&self, departure: &RunnerDeparture) -> Result<(), Error> {
        let path = "/v1/departed-runner";
        self.call(path, self.request(Method::POST, path).json(departure)).await.map(drop)
    }

    /// Puts the specification in force, unless a newer one is.
    pub async fn put_spec(&self, spec: &LiveSpec) -> Result<(), Error> {
        let path = "/v1/spec";
        self.call(path, self.request(Method::PUT, path).json(spec)).await.map(drop)
    }

    /// The report; `None` while the run goes on.
    pub async fn result(&self) -> Result<Option<Report>, Error> {
        let path = "/v1/result";
        let (status, body) = self.call(path, self.request(Method::GET, path)).await?;
        if status == StatusCode::ACCEPTED { Ok(None) } else { read(path, &body).map(Some) }
    }

    /// Says that the report is safe.
    pub async fn acknowledge_result(&self) -> Result<(), Error> {
        let path = "/v1/result/acknowledged";
        self.call(path, self.request(Method::POST, path)).await.map(drop)
    }

    fn request(&self, method: Method, path: &'static str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token)
    }

    async fn call(
        &self,
        path: &'static str,
        request: RequestBuilder,
    ) -> Result<(StatusCode, Vec<u8>), Error> {
        let response = request.send().await.map_err(|source| Error::Unreachable { path, source })?;
        let status = response.status();
        let body = body_of(path, response).await?;
        if status.is_success() {
            return Ok((status, body));
        }
        let text = String::from_utf8_lossy(&body[..body.len().min(500)]).into_owned();
        Err(Error::Refused { path, status, text })
    }
}

async fn body_of(path: &'static str, mut response: Response) -> Result<Vec<u8>, Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|source| Error::Unreachable { path, source })? {
        if LONGEST_REPLY < body.len() + chunk.len() {
            return Err(Error::TooLong { path });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn read<T: DeserializeOwned>(path: &'static str, body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|source| Error::Unreadable { path, source })
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::{get, post};

    use super::*;

    async fn master() -> MasterClient {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let router = Router::new()
            .route("/v1/status", get(|| async { "no JSON" }))
            .route("/v1/result", get(|| async { (StatusCode::ACCEPTED, "{}") }))
            .route("/v1/stop", post(|| async { (StatusCode::UNAUTHORIZED, "the token is missing") }))
            .route("/v1/result/acknowledged", post(|| async { vec![b'x'; LONGEST_REPLY + 1] }));
        tokio::spawn(async move { axum::serve(listener, router).await });
        MasterClient::new(&address, "secret").unwrap()
    }

    #[tokio::test]
    async fn what_a_master_says_wrongly_is_told_with_what_was_asked() {
        let master = master().await;
        assert_eq!(
            master.stop(StopReason::Interrupted).await.unwrap_err().to_string(),
            "the master refused /v1/stop: 401 Unauthorized the token is missing"
        );
        let unreadable = master.status().await.unwrap_err().to_string();
        assert_eq!(unreadable, "failed to read the master's reply to /v1/status");
        assert!(matches!(master.acknowledge_result().await, Err(Error::TooLong { .. })));
    }

    #[tokio::test]
    async fn a_run_that_goes_on_has_no_result() {
        assert!(matches!(master().await.result().await, Ok(None)));
    }

    #[tokio::test]
    async fn a_master_that_is_gone_is_an_error_and_no_wait() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let gone = MasterClient::new(&address, "secret").unwrap().status().await;
        assert!(matches!(gone, Err(Error::Unreachable { path: "/v1/status", .. })));
    }
}

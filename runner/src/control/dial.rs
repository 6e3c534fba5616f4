//! One call to the master at a time: JSON out, JSON in, with the token, a limit on every wait and on the answer's size.
//! Tells apart what is worth another try from what is not; never tries again itself. Start at [`Dial::post`].

use std::time::Duration;

use aiotest_core::message::Refusal;
use reqwest::{Client, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::master::Token;

const CONNECT: Duration = Duration::from_secs(2);
const TOTAL: Duration = Duration::from_secs(5);
/// Less than the master keeps an idle connection, so that no call meets one that is just being closed.
const IDLE: Duration = Duration::from_secs(3);
const ANSWER_BYTES: usize = 8 * 1024 * 1024;

/// Why a call to the master gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// Refused, reset, not resolved or too slow; also 5xx: worth another try.
    #[error("unable to reach the master at {master}")]
    Unreachable {
        /// Its address.
        master: String,
        /// What went wrong.
        source: reqwest::Error,
    },
    /// 401: this token will not do, however often it is shown.
    #[error(
        "the master at {master} refused the token: AIOTEST_TOKEN or --token-file must be the master's own"
    )]
    Unauthorized {
        /// Its address.
        master: String,
    },
    /// 409: this master's run, or this process' identity, is another one by now.
    #[error("the master at {master} refused the report: {refusal}")]
    Refused {
        /// Its address.
        master: String,
        /// What the master said.
        refusal: Refusal,
    },
    /// Any other status: not a master, or not of this version.
    #[error("the master at {master} answered {status}: {reason}")]
    Status {
        /// Its address.
        master: String,
        /// The answer's status.
        status: u16,
        /// What the master said.
        reason: String,
    },
    /// A 200 whose body is not the answer to this call.
    #[error("failed to read the answer of the master at {master}: {reason}")]
    Garbled {
        /// Its address.
        master: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Error {
    /// Whether the same call may succeed later.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Garbled { .. } => true,
            Self::Status { status, .. } => 500 <= *status,
            Self::Refused { refusal, .. } => refusal.is_passing(),
            Self::Unauthorized { .. } => false,
        }
    }
}

/// A master's address and the token for it.
#[derive(Debug)]
pub(super) struct Dial {
    client: Client,
    master: String,
    authorization: String,
}

impl Dial {
    /// For the master at `master`, as `host:port`. Dials nothing yet; fails where the process is out of resources.
    pub(super) fn new(master: &str, token: &Token) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            // A proxy named in the environment is for the load's target, not for this.
            .no_proxy()
            .connect_timeout(CONNECT)
            .timeout(TOTAL)
            .pool_idle_timeout(IDLE)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self { client, master: master.to_owned(), authorization: token.header() })
    }

    /// Posts `message` to `path` (such as `/v1/report`) and reads the answer.
    pub(super) async fn post<A: DeserializeOwned>(
        &self,
        path: &str,
        message: &(impl Serialize + Sync),
    ) -> Result<A, Error> {
        let call = self.client.post(format!("http://{}{path}", self.master)).json(message);
        let unreachable = |source| Error::Unreachable { master: self.master.clone(), source };
        let response = call.header("authorization", &self.authorization).send().await.map_err(unreachable)?;
        let status = response.status();
        let body = self.body(response).await?;
        let master = self.master.clone();
        match status {
            StatusCode::OK => serde_json::from_slice(&body)
                .map_err(|error| Error::Garbled { master, reason: error.to_string() }),
            StatusCode::UNAUTHORIZED => Err(Error::Unauthorized { master }),
            _ => Err(match refusal(&body) {
                Some(refusal) => Error::Refused { master, refusal },
                None => Error::Status { master, status: status.as_u16(), reason: reason(&body) },
            }),
        }
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, Error> {
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() <= ANSWER_BYTES => body.extend_from_slice(&chunk),
                Ok(Some(_)) => {
                    let reason = format!("it is longer than {ANSWER_BYTES} bytes");
                    return Err(Error::Garbled { master: self.master.clone(), reason });
                }
                Ok(None) => return Ok(body),
                Err(source) => return Err(Error::Unreachable { master: self.master.clone(), source }),
            }
        }
    }
}

/// Which refusal it is, beside the `error` in words.
fn refusal(body: &[u8]) -> Option<Refusal> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    serde_json::from_value(body.get("refusal")?.clone()).ok()
}

/// The `error` of a refusal's JSON, or the beginning of whatever came instead.
fn reason(body: &[u8]) -> String {
    let named = serde_json::from_slice::<serde_json::Value>(body).ok();
    let named = named.and_then(|body| body.get("error")?.as_str().map(str::to_owned));
    named.unwrap_or_else(|| String::from_utf8_lossy(body).chars().take(200).collect())
}

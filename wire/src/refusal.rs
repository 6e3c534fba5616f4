//! How the ports say no: a status and `{"error": …}`, and how a body is read without trusting its sender.
//! Start at [`Message`], the one extractor of a body.

use std::time::Duration;

use axum::Json;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_LENGTH;
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde_json::json;

/// The longest body that a port reads.
pub const BODY_BYTES: usize = 8 * 1024 * 1024;
/// How long a whole body may take to arrive.
const BODY: Duration = Duration::from_secs(10);

/// A request that is refused, with the words for its sender.
#[derive(Debug)]
pub struct Refusal {
    status: StatusCode,
    error: String,
}

impl Refusal {
    /// With the words for whoever asked.
    pub fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, error: error.into() }
    }

    fn too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, format!("a body may have at most {BODY_BYTES} bytes"))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.error }))).into_response()
    }
}

/// A JSON body: bounded in size before it is read and while it is, bounded in time, and parsed.
pub struct Message<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Message<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        let declared =
            request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if declared.is_some_and(|length: u64| (BODY_BYTES as u64) < length) {
            return Err(Refusal::too_large());
        }
        let body = Limited::new(request.into_body(), BODY_BYTES).collect();
        let body = match tokio::time::timeout(BODY, body).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(Refusal::too_large()),
            Ok(Err(error)) => {
                return Err(Refusal::new(
                    StatusCode::BAD_REQUEST,
                    format!("failed to read the body: {error}"),
                ));
            }
            Err(_) => {
                let error = format!("the body did not arrive within {} s", BODY.as_secs());
                return Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, error));
            }
        };
        serde_json::from_slice(&body).map(Self).map_err(|error| {
            Refusal::new(
                StatusCode::BAD_REQUEST,
                format!("failed to parse the body as this route's message: {error}"),
            )
        })
    }
}

//! The routes of both ports. Each takes a message, hands it to the state machine and answers with what that says; none
//! decides or waits. Start at [`control`] and [`metrics`].

use std::sync::Arc;

use aiotest_core::master::Master as Core;
use aiotest_core::message::{Departure, LiveSpec, Report, RunnerDeparture, StopReason};
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;

use super::desk::Desk;
use super::exporter::{Exporter, Format};
use super::token::Token;
use aiotest_wire::refusal::{Message, Refusal};

/// The control port: everything behind the token, also what is not there.
pub(super) fn control(desk: Arc<Desk>, token: Token) -> Router {
    Router::new()
        .route("/v1/report", post(report))
        .route("/v1/departed", post(departed))
        .route("/v1/departed-runner", post(departed_runner))
        .route("/v1/spec", put(spec))
        .route("/v1/status", get(status))
        .route("/v1/stop", post(stop))
        .route("/v1/result", get(result))
        .route("/v1/result/acknowledged", post(acknowledged))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(token, admit))
        .with_state(desk)
}

/// The read-only port, which needs no token.
pub(super) fn metrics(desk: Arc<Desk>, exporter: Exporter) -> Router {
    Router::new()
        .route("/metrics", get(scrape))
        .route("/healthz", get(|| async { "ok\n" }))
        // Both ports are served or neither: whoever hears this can join, also after a restart.
        .route("/readyz", get(|| async { "ok\n" }))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .with_state(Arc::new((desk, exporter)))
}

async fn admit(State(token): State<Token>, request: Request, next: Next) -> Response {
    if token.admits(request.headers()) {
        return next.run(request).await;
    }
    let error = "the header `Authorization: Bearer TOKEN` is missing or not this master's";
    Refusal::new(StatusCode::UNAUTHORIZED, error).into_response()
}

async fn report(State(desk): State<Arc<Desk>>, Message(report): Message<Report>) -> Response {
    match desk.report_in(&report) {
        Ok(assignment) => Json(assignment).into_response(),
        Err(refusal) => {
            let body = json!({ "error": refusal.to_string(), "refusal": refusal });
            (StatusCode::CONFLICT, Json(body)).into_response()
        }
    }
}

async fn departed(State(desk): State<Arc<Desk>>, Message(departure): Message<Departure>) -> Response {
    desk.with(|core, now| core.handle_departure(now, &departure));
    done()
}

async fn departed_runner(
    State(desk): State<Arc<Desk>>,
    Message(departure): Message<RunnerDeparture>,
) -> Response {
    desk.with(|core, now| core.handle_runner_departure(now, &departure));
    done()
}

async fn spec(State(desk): State<Arc<Desk>>, Message(live): Message<LiveSpec>) -> Response {
    match desk.with(|core, now| core.handle_spec(now, &live)) {
        Ok(generation) => Json(json!({ "generation": generation })).into_response(),
        Err(invalid) => Refusal::new(StatusCode::BAD_REQUEST, invalid.to_string()).into_response(),
    }
}

async fn status(State(desk): State<Arc<Desk>>) -> Response {
    Json(desk.look(Core::status)).into_response()
}

#[derive(Deserialize)]
struct StopRequest {
    reason: StopReason,
}

async fn stop(State(desk): State<Arc<Desk>>, Message(request): Message<StopRequest>) -> Response {
    desk.with(|core, now| core.handle_stop(now, request.reason));
    done()
}

async fn result(State(desk): State<Arc<Desk>>) -> Response {
    match desk.report() {
        Some(report) => Json(report).into_response(),
        None => (StatusCode::ACCEPTED, Json(json!({}))).into_response(),
    }
}

async fn acknowledged(State(desk): State<Arc<Desk>>) -> Response {
    if !desk.is_over() {
        let error = "the run has no result yet: nothing can be acknowledged";
        return Refusal::new(StatusCode::CONFLICT, error).into_response();
    }
    desk.acknowledge();
    done()
}

async fn scrape(State(state): State<Arc<(Arc<Desk>, Exporter)>>, headers: HeaderMap) -> Response {
    let (desk, exporter) = &*state;
    if desk.look(|core, _| core.is_learning()) {
        // A counter that fell would count as a reset, and what it said before twice.
        let error = "this master was restarted and has not heard from every runner process yet";
        return Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error).into_response();
    }
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let format = Format::accepted(accept);
    let text = exporter.scrape(format);
    desk.count_scrape();
    ([(CONTENT_TYPE, format.content_type())], text).into_response()
}

async fn unknown(request: Request) -> Refusal {
    let error = format!("there is no `{}` here; this master speaks /v1", request.uri().path());
    Refusal::new(StatusCode::NOT_FOUND, error)
}

async fn wrong_method(request: Request) -> Refusal {
    let error = format!("`{}` does not take {}", request.uri().path(), request.method());
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, error)
}

fn done() -> Response {
    Json(json!({})).into_response()
}

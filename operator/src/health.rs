//! The operator's own port: `/metrics`, `/healthz` and `/readyz`, read-only. Start at [`serve`].

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aiotest_wire::server::{self, Limits};
use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::metrics::Metrics;

const LIMITS: Limits =
    Limits { header: Duration::from_secs(5), silence: Duration::from_secs(30), connections: 64 };
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Whether the operator has seen the LoadTests.
#[derive(Clone, Default)]
pub(crate) struct Health(Arc<AtomicBool>);

impl Health {
    pub(crate) fn is_ready(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn answer(&self) -> (StatusCode, &'static str) {
        if self.0.load(Ordering::Relaxed) {
            (StatusCode::OK, "ok\n")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "the LoadTests have not been listed yet\n")
        }
    }
}

/// Serves as long as the process lives.
pub(crate) async fn serve(address: &str, metrics: Metrics, health: Health) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    let router = Router::new()
        .route("/metrics", get(move || async move { ([(CONTENT_TYPE, OPEN_METRICS)], metrics.text()) }))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(move || async move { health.answer() }));
    tokio::spawn(async move {
        let (_never, ended) = watch::channel(false);
        server::serve(listener, router, LIMITS, ended, |words| tracing::warn!("{words}")).await;
    });
    Ok(())
}

//! The HTTP endpoint: `/metrics`, `/healthz`, `/readyz`. Reading only, no authentication, hence
//! off unless an address is given.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State as Shared;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::Metrics;

mod bounded;

use bounded::BoundedListener;

/// The broker's end must not wait for a scraper.
const GRACE: Duration = Duration::from_secs(1);
/// What Prometheus asks for; see the OpenMetrics text format, version 1.0.0.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What a broker is about to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// It reads its log.
    Starting,
    /// It works.
    Ready,
    /// It finishes what it has and takes nothing new.
    Draining,
    /// It cannot go on; the process is about to end.
    Failed(String),
}

/// The broker's hand on its state.
#[derive(Debug)]
pub struct Readiness(watch::Sender<State>);

/// The eyes on a broker's state. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ReadinessView(watch::Receiver<State>);

impl Readiness {
    /// A broker that starts.
    #[must_use]
    pub fn starting() -> Self {
        Self(watch::Sender::new(State::Starting))
    }

    /// Goes on to another state; a failed broker stays failed.
    pub fn set(&self, state: State) {
        self.0.send_modify(|now| {
            if !matches!(now, State::Failed(_)) {
                *now = state;
            }
        });
    }

    /// Somebody to look at it.
    #[must_use]
    pub fn watch(&self) -> ReadinessView {
        ReadinessView(self.0.subscribe())
    }
}

impl ReadinessView {
    /// The state now.
    #[must_use]
    pub fn state(&self) -> State {
        self.0.borrow().clone()
    }
}

/// The endpoint, listening.
#[derive(Debug)]
pub struct MetricsServer {
    listener: TcpListener,
    address: SocketAddr,
    view: View,
}

#[derive(Clone, Debug)]
struct View {
    metrics: Arc<Metrics>,
    readiness: ReadinessView,
}

impl View {
    /// A word for programs, then a line for each binding or plugin of subscriptions that rests.
    fn with_troubles(&self, word: &str) -> String {
        let mut text = format!("{word}\n");
        for line in self.metrics.quarantined() {
            text.push_str(&line);
            text.push('\n');
        }
        text
    }
}

/// An endpoint that could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve metrics at {address}: {source}; choose another address (--metrics ADDR)")]
pub struct MetricsError {
    address: SocketAddr,
    source: io::Error,
}

impl MetricsServer {
    /// Listens; nobody is answered before [`MetricsServer::run`].
    pub async fn bind(
        address: SocketAddr,
        metrics: Arc<Metrics>,
        readiness: ReadinessView,
    ) -> Result<Self, MetricsError> {
        let fail = |source| MetricsError { address, source };
        let listener = TcpListener::bind(address).await.map_err(fail)?;
        let address = listener.local_addr().map_err(fail)?;
        let view = View { metrics, readiness };
        Ok(Self {
            listener,
            address,
            view,
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `shutdown`; a request under way then has a second to finish.
    pub async fn run(self, shutdown: CancellationToken) {
        let router = Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(health))
            .route("/readyz", get(readiness))
            .with_state(self.view);
        let end = shutdown.clone();
        let serving = axum::serve(BoundedListener::new(self.listener), router)
            .with_graceful_shutdown(async move { end.cancelled().await });
        let over = async {
            shutdown.cancelled().await;
            sleep(GRACE).await;
        };
        tokio::select! {
            biased;
            served = serving.into_future() => {
                if let Err(error) = served {
                    tracing::error!(%error, "the metrics endpoint ended");
                }
            }
            () = over => tracing::debug!("a scraper did not finish in time"),
        }
    }
}

async fn metrics(Shared(view): Shared<View>) -> Response {
    ([(header::CONTENT_TYPE, OPEN_METRICS)], view.metrics.text()).into_response()
}

/// Whether the process ought to be started anew.
async fn health(Shared(view): Shared<View>) -> (StatusCode, String) {
    match view.readiness.state() {
        State::Failed(reason) => unavailable(&reason),
        State::Starting | State::Ready | State::Draining => {
            (StatusCode::OK, view.with_troubles("ok"))
        }
    }
}

/// Whether clients ought to be sent here.
async fn readiness(Shared(view): Shared<View>) -> (StatusCode, String) {
    match view.readiness.state() {
        State::Ready => (StatusCode::OK, view.with_troubles("ready")),
        State::Starting => unavailable("starting"),
        State::Draining => unavailable("shutting down"),
        State::Failed(reason) => unavailable(&reason),
    }
}

fn unavailable(reason: &str) -> (StatusCode, String) {
    (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n"))
}

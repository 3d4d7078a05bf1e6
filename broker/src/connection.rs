//! Connections: let in, watched over, shown the door. Before a client has authenticated it may
//! open one stream, send 16 KiB and take five seconds.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use quinn::{Connection, Endpoint, Incoming, RecvStream, SendStream, VarInt};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use weir_wire::error::{ErrorCode, Fault};
use weir_wire::frame::Kind;
use weir_wire::limits::{HELLO_TIMEOUT, SUBSCRIPTIONS_MAX};
use weir_wire::request::{Hello, Welcome};

use crate::budget::{Budget, Intake};
use crate::fault::IntoFault;
use crate::frames::{Ended, FrameReader, Received, finish, send, send_fault, send_within};
use crate::state::Shared;
use crate::subscribe::ConnectionTurns;
use crate::{publish, requests, subscribe, transport};

/// The protocol version that this broker speaks.
const PROTOCOL_VERSION: u32 = 1;
/// How long a connection may take to get rid of its last words.
const FAREWELL: Duration = Duration::from_secs(2);

/// Why a connection is closed: QUIC's application error codes.
#[derive(Clone, Copy, Debug)]
enum Close {
    NotAuthorised = 1,
    Violation = 2,
    ShuttingDown = 3,
}

/// What a stream may begin with.
const FIRST: &[Kind] = &[
    Kind::CreateTopic,
    Kind::UpdateTopic,
    Kind::TruncateTopic,
    Kind::DeleteTopic,
    Kind::ListTopics,
    Kind::DescribeTopic,
    Kind::PushPlugin,
    Kind::ListPlugins,
    Kind::DescribePlugin,
    Kind::RemovePlugin,
    Kind::Bind,
    Kind::Unbind,
    Kind::Rollback,
    Kind::DescribeHistory,
    Kind::Unquarantine,
    Kind::PluginLogs,
    Kind::FetchPlugin,
    Kind::Status,
    Kind::OpenProducer,
    Kind::Subscribe,
];

/// What the streams of one connection share.
#[derive(Clone)]
struct Rooms {
    /// For requests under way.
    requests: Budget,
    /// For large frames on their way in.
    intake: Intake,
    /// For subscriptions.
    subscriptions: Arc<Semaphore>,
    /// For what these have to send.
    turns: ConnectionTurns,
}

/// Accepts connections until the broker drains.
pub(crate) async fn accept(shared: Arc<Shared>, endpoint: Endpoint) {
    loop {
        let incoming = tokio::select! {
            biased;
            () = shared.draining.cancelled() => return,
            incoming = endpoint.accept() => incoming,
        };
        let Some(incoming) = incoming else { return };
        let limit = shared.config.limits.connections as usize;
        if shared.connections.load(Ordering::Relaxed) >= limit {
            shared.metrics.connections_refused.inc();
            tracing::warn!(limit, "connection refused: there are as many as may be");
            incoming.refuse();
            continue;
        }
        shared.metrics.connections_accepted.inc();
        let counted = Counted::new(&shared);
        shared.tasks.spawn(serve(shared.clone(), incoming, counted));
    }
}

/// Counts a connection for as long as it lives.
struct Counted(Arc<Shared>);

impl Counted {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.connections.fetch_add(1, Ordering::Relaxed);
        Self(shared.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn serve(shared: Arc<Shared>, incoming: Incoming, _counted: Counted) {
    let peer = incoming.remote_address();
    let connection = match timeout(HELLO_TIMEOUT, incoming).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return tracing::debug!(%peer, %error, "handshake failed"),
        Err(_) => return tracing::debug!(%peer, "handshake took too long"),
    };
    let client = match timeout(HELLO_TIMEOUT, authenticate(&shared, &connection)).await {
        Ok(Ok(client)) => client,
        Ok(Err(close)) => return close_with(&connection, close, "not let in"),
        Err(_) => return close_with(&connection, Close::NotAuthorised, "no hello in time"),
    };
    tracing::debug!(%peer, client, "connected");
    transport::open_up(&connection, &shared.config.limits);
    streams(&shared, &connection).await;
}

/// Serves streams until the connection ends, or the broker has drained it.
async fn streams(shared: &Arc<Shared>, connection: &Connection) {
    let limits = &shared.config.limits;
    let bytes = limits.connection_buffer_bytes.as_usize();
    let rooms = Rooms {
        requests: Budget::new(bytes),
        intake: Intake::new(
            shared.intake.clone(),
            Budget::new(bytes),
            limits.request_deadline,
        ),
        subscriptions: Arc::new(Semaphore::new(SUBSCRIPTIONS_MAX)),
        turns: shared.turns.of_connection(),
    };
    let tasks = tokio_util::task::TaskTracker::new();
    loop {
        let stream = tokio::select! {
            biased;
            () = shared.draining.cancelled() => break,
            stream = connection.accept_bi() => stream,
        };
        let Ok((send, receive)) = stream else { break };
        let (shared, connection, rooms) = (shared.clone(), connection.clone(), rooms.clone());
        tasks.spawn(async move { stream_of(shared, connection, rooms, send, receive).await });
    }
    tasks.close();
    let _ = timeout(
        FAREWELL + shared.config.limits.request_deadline,
        tasks.wait(),
    )
    .await;
    if shared.draining.is_cancelled() {
        close_with(
            connection,
            Close::ShuttingDown,
            "the broker is shutting down",
        );
    }
}

fn close_with(connection: &Connection, close: Close, reason: &str) {
    connection.close(VarInt::from_u32(close as u32), reason.as_bytes());
}

/// The hello: who is there, and may they come in?
async fn authenticate(shared: &Shared, connection: &Connection) -> Result<String, Close> {
    let (mut stream, receive) = connection.accept_bi().await.map_err(|_| Close::Violation)?;
    let mut reader = FrameReader::expecting(receive, &[Kind::Hello]);
    let checked = match reader.next().await {
        Ok(Some(frame)) => check_hello(shared, connection, &frame),
        Ok(None) | Err(Ended::Lost) => return Err(Close::Violation),
        Err(Ended::Violation(fault)) => Err(fault),
    };
    let client = match checked {
        Ok(client) => client,
        Err(fault) => {
            let close = if fault.code == ErrorCode::NotAuthorised {
                shared.metrics.auth_failures.inc();
                Close::NotAuthorised
            } else {
                shared.metrics.malformed_frames.inc();
                Close::Violation
            };
            shared.metrics.request(Kind::Hello, Err(fault.code));
            tracing::info!(peer = %connection.remote_address(), %fault, "not let in");
            let _ = send_fault(&mut stream, &fault).await;
            let _ = timeout(FAREWELL, finish(stream)).await;
            return Err(close);
        }
    };
    let welcome = Welcome {
        version: PROTOCOL_VERSION,
        broker: env!("CARGO_PKG_VERSION").to_owned(),
        node_id: shared.node,
    };
    send(&mut stream, &welcome)
        .await
        .map_err(|_| Close::Violation)?;
    let _ = stream.finish();
    Ok(client)
}

fn check_hello(
    shared: &Shared,
    connection: &Connection,
    frame: &Received,
) -> Result<String, Fault> {
    if frame.kind != Kind::Hello {
        let text = "the first frame of a connection is Hello";
        return Err(Fault::new(ErrorCode::NotAuthorised, text));
    }
    let hello: Hello = frame.message().map_err(IntoFault::into_fault)?;
    if hello.version != PROTOCOL_VERSION {
        let text = format!(
            "this broker speaks protocol version {PROTOCOL_VERSION}, the client version {}",
            hello.version
        );
        return Err(Fault::new(ErrorCode::UnsupportedVersion, text));
    }
    let has_certificate = connection.peer_identity().is_some();
    shared.auth.check(hello.token.as_deref(), has_certificate)?;
    Ok(hello.client)
}

/// The first frame of a stream says what the stream is.
async fn stream_of(
    shared: Arc<Shared>,
    connection: Connection,
    rooms: Rooms,
    mut send: SendStream,
    receive: RecvStream,
) {
    let mut reader = FrameReader::expecting(receive, FIRST).within(rooms.intake);
    let frame = match reader.next().await {
        Ok(Some(frame)) => frame,
        Ok(None) | Err(Ended::Lost) => return,
        Err(Ended::Violation(fault)) => {
            shared.frame_refused(&fault);
            let _ = send_fault(&mut send, &fault).await;
            return finish(send).await;
        }
    };
    let kind = frame.kind;
    let refused = match kind {
        Kind::OpenProducer => match frame.message() {
            Ok(open) => {
                reader.only(&[Kind::Produce]);
                let budget = rooms.requests;
                return publish::run(shared, connection, budget, send, reader, open).await;
            }
            Err(error) => error.into_fault(),
        },
        Kind::Subscribe => match (frame.message(), rooms.subscriptions.try_acquire_owned()) {
            (Ok(request), Ok(_one_of_them)) => {
                reader.only(&[Kind::Credit]);
                return subscribe::run(shared, connection, rooms.turns, send, reader, request)
                    .await;
            }
            (Ok(_), Err(_)) => {
                let text = format!("a connection has at most {SUBSCRIPTIONS_MAX} subscriptions");
                Fault::new(ErrorCode::LimitReached, text)
            }
            (Err(error), _) => error.into_fault(),
        },
        _ => match requests::handle(&shared, frame).await {
            Ok(reply) => {
                shared.metrics.request(kind, Ok(()));
                let patience = shared.config.limits.request_deadline;
                let sent = send_within(&mut send, [&reply.frame, &reply.payload], patience).await;
                // What QUIC holds of it from here on is bounded by its windows.
                drop(reply);
                if sent.is_ok() {
                    finish(send).await;
                }
                return;
            }
            Err(fault) => fault,
        },
    };
    shared.metrics.request(kind, Err(refused.code));
    let _ = send_fault(&mut send, &refused).await;
    finish(send).await;
}

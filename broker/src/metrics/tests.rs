//! What a scraper sees, over a real socket on loopback.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use weir_wire::error::ErrorCode;
use weir_wire::frame::Kind;
use weir_wire::id::{BindingEpoch, BindingId, Offset, PartitionId, PluginVersion, Timestamp};
use weir_wire::limits::STATUS_WARNINGS_MAX;
use weir_wire::message::Message;
use weir_wire::plugin::{ErrorPolicy, Hook};
use weir_wire::request::{BindingCounters, BindingInfo, BrokerStatus, Quarantine};

use super::{HighWaterMark, Metrics, MetricsServer, Readiness, Sample, State, SubscriptionPlugins};
use crate::config::ByteSize;

async fn fetch(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: weir\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let body = answer.split_once("\r\n\r\n").unwrap().1.to_owned();
    (status, body)
}

struct Endpoint {
    address: SocketAddr,
    metrics: Arc<Metrics>,
    readiness: Readiness,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

async fn endpoint() -> Endpoint {
    let metrics = Metrics::new();
    let readiness = Readiness::starting();
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = MetricsServer::bind(address, Arc::clone(&metrics), readiness.watch()).await;
    let server = server.unwrap();
    let shutdown = CancellationToken::new();
    Endpoint {
        address: server.address(),
        metrics,
        readiness,
        task: tokio::spawn(server.run(shutdown.clone())),
        shutdown,
    }
}

#[tokio::test]
async fn health_and_readiness_follow_the_state() {
    let endpoint = endpoint().await;
    let mut seen = Vec::new();
    for state in [
        State::Starting,
        State::Ready,
        State::Draining,
        State::Failed("the log failed".to_owned()),
        // There is no way back from there.
        State::Ready,
    ] {
        endpoint.readiness.set(state);
        let (health, _) = fetch(endpoint.address, "/healthz").await;
        let (ready, reason) = fetch(endpoint.address, "/readyz").await;
        seen.push((health, ready, reason));
    }
    let expected = [
        (200, 503, "starting\n"),
        (200, 200, "ready\n"),
        (200, 503, "shutting down\n"),
        (503, 503, "the log failed\n"),
        (503, 503, "the log failed\n"),
    ];
    let expected = expected.map(|(health, ready, reason)| (health, ready, reason.to_owned()));
    assert_eq!(seen, expected);
    assert_eq!(fetch(endpoint.address, "/").await.0, 404);
}

#[tokio::test]
async fn counters_are_served() {
    let endpoint = endpoint().await;
    let metrics = &endpoint.metrics;
    metrics.records_in.inc_by(5);
    metrics.request(Kind::CreateTopic, Ok(()));
    metrics.request(Kind::CreateTopic, Err(ErrorCode::TopicExists));
    metrics.request(Kind::CreateTopic, Err(ErrorCode::TopicExists));
    Metrics::observe(&metrics.fsync_seconds, Duration::from_micros(60));
    metrics.certificate_expiry_seconds.set(1_800_000_000);

    let (status, text) = fetch(endpoint.address, "/metrics").await;
    assert_eq!(status, 200);
    for line in [
        "# HELP weir_records_in Records stored.",
        "weir_records_in_total 5",
        "weir_requests_total{kind=\"create-topic\",result=\"ok\"} 1",
        "weir_requests_total{kind=\"create-topic\",result=\"topic-exists\"} 2",
        "weir_fsync_seconds_bucket{le=\"0.00005\"} 0",
        "weir_fsync_seconds_bucket{le=\"0.0001\"} 1",
        "weir_certificate_expiry_seconds 1800000000",
        "weir_auth_failures_total 0",
        "# EOF",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "no line {line:?} in\n{text}"
        );
    }
}

#[tokio::test]
async fn a_scrape_takes_a_sample() {
    let endpoint = endpoint().await;
    endpoint.metrics.sample_with(Box::new(|| {
        Some(Sample {
            status: BrokerStatus {
                version: "1.2.3".to_owned(),
                topics: 2,
                connections: 3,
                bindings: vec![binding()],
                ..BrokerStatus::decode(&[]).unwrap()
            },
            buffered: ByteSize::bytes(77),
            high_water_marks: (0..2000).map(mark).collect(),
            resting: vec!["the filter of a subscription rests".to_owned()],
            subscription_plugins: vec![subscribed()],
        })
    }));
    let (_, text) = fetch(endpoint.address, "/metrics").await;
    for line in [
        "weir_topics 2",
        "weir_connections 3",
        "weir_buffered_bytes 77",
        "weir_broker_info{version=\"1.2.3\"} 1",
        "weir_high_water_mark{topic=\"orders\",partition=\"999\"} 5",
        "# HELP weir_binding_traps Traps of a binding's plugin",
        "# HELP weir_subscription_plugin_traps Traps of a plugin of subscriptions",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "no line {line:?} in\n{text}"
        );
    }
    assert!(
        !text.contains("partition=\"1000\""),
        "the number of series is bounded"
    );
    assert!(text.contains("weir_binding_cpu_seconds_total{binding=\"9\",topic=\"orders\""));
    for line in [
        "weir_binding_quarantined{LABELS} 1",
        "weir_binding_impure{LABELS} 1",
        "weir_binding_log_lines_suppressed_total{LABELS} 7.0",
        "weir_binding_call_seconds_bucket{le=\"0.0001\",LABELS} 5",
        "weir_binding_call_seconds_bucket{le=\"+Inf\",LABELS} 5",
        "weir_binding_call_seconds_sum{LABELS} 0.0025",
    ] {
        let labels = format!(
            "binding=\"9\",topic=\"orders\",hook=\"key\",plugin=\"json-key\",version=\"{}\"",
            "ab".repeat(32)
        );
        let line = line.replace("LABELS", &labels);
        assert!(
            text.lines().any(|found| found == line),
            "no line {line:?} in\n{text}"
        );
    }
    for line in [
        "weir_subscription_plugin_at_work{LABELS} 3",
        "weir_subscription_plugin_quarantined{LABELS} 2",
        "weir_subscription_plugin_impure{LABELS} 1",
        "weir_subscription_plugin_records_total{LABELS} 8.0",
        "weir_subscription_plugin_call_seconds_bucket{le=\"+Inf\",LABELS} 5",
    ] {
        let labels = format!(
            "topic=\"orders and 1 more\",hook=\"filter\",plugin=\"tag-filter\",version=\"{}\"",
            "cd".repeat(32)
        );
        let line = line.replace("LABELS", &labels);
        assert!(
            text.lines().any(|found| found == line),
            "no line {line:?} in\n{text}"
        );
    }
    let (status, text) = fetch(endpoint.address, "/healthz").await;
    let resting = "binding 9 (plugin \"json-key\" on topic \"orders\") is quarantined: it traps\n\
                   the filter of a subscription rests";
    assert_eq!((status, text), (200, format!("ok\n{resting}\n")));
    let (_, text) = fetch(endpoint.address, "/metrics").await;
    assert!(
        text.contains("} 1.5\n"),
        "nanoseconds become seconds:\n{text}"
    );
}

#[tokio::test]
async fn of_what_rests_a_page_tells_so_much() {
    let endpoint = endpoint().await;
    endpoint.metrics.sample_with(Box::new(|| {
        let resting = (1..).map(|number| format!("the filter on topic \"{number}\" rests"));
        Some(Sample {
            status: BrokerStatus {
                bindings: vec![binding()],
                ..BrokerStatus::decode(&[]).unwrap()
            },
            buffered: ByteSize::bytes(0),
            high_water_marks: Vec::new(),
            resting: resting.take(STATUS_WARNINGS_MAX + 7).collect(),
            subscription_plugins: Vec::new(),
        })
    }));
    endpoint.readiness.set(State::Ready);
    for path in ["/healthz", "/readyz"] {
        let (_, text) = fetch(endpoint.address, path).await;
        let lines: Vec<_> = text.lines().skip(1).collect();
        assert_eq!(lines.len(), STATUS_WARNINGS_MAX, "{path}");
        assert!(lines[0].starts_with("binding 9"), "{path}: {text}");
        assert_eq!(lines.last(), Some(&"and 9 more warnings"), "{path}");
    }
}

fn binding() -> BindingInfo {
    BindingInfo {
        id: BindingId::new(9),
        epoch: BindingEpoch::new(1),
        topic: "orders".parse().unwrap(),
        hook: Hook::Key,
        plugin: "json-key".parse().unwrap(),
        version: PluginVersion::new([0xab; 32]),
        config: Vec::new(),
        routes: Vec::new(),
        on_error: ErrorPolicy::Fail,
        counters: BindingCounters {
            cpu_ns: 1_500_000_000,
            call_times: vec![2, 3],
            call_ns: 2_500_000,
            impure: true,
            log_lines_suppressed: 7,
            quarantine: Some(Quarantine {
                reason: "it traps".to_owned(),
                since: Timestamp::new(1),
                until: Timestamp::new(2),
                times: 1,
            }),
            ..BindingCounters::decode(&[]).unwrap()
        },
        position: 0,
        limits: None,
        time: Timestamp::new(0),
        dead_letters: None,
    }
}

fn subscribed() -> SubscriptionPlugins {
    SubscriptionPlugins {
        plugin: "tag-filter".parse().unwrap(),
        version: PluginVersion::new([0xcd; 32]),
        hook: Hook::Filter,
        topic: "orders and 1 more".to_owned(),
        at_work: 3,
        resting: 2,
        impure: 1,
        counters: BindingCounters {
            records: 8,
            call_times: vec![2, 3],
            ..BindingCounters::decode(&[]).unwrap()
        },
    }
}

fn mark(partition: u32) -> HighWaterMark {
    HighWaterMark {
        topic: "orders".parse().unwrap(),
        partition: PartitionId::new(partition),
        offset: Offset::new(5),
    }
}

/// The clock stands still and jumps whenever nobody has anything to do: so the idle connections
/// reach the end of their time at once.
#[tokio::test(start_paused = true)]
async fn more_connections_than_it_holds_do_not_lock_it() {
    let endpoint = endpoint().await;
    let mut idle = Vec::new();
    for _ in 0..100 {
        idle.push(TcpStream::connect(endpoint.address).await.unwrap());
    }
    let answer = tokio::time::timeout(
        Duration::from_secs(150),
        fetch(endpoint.address, "/healthz"),
    );
    assert_eq!(answer.await.unwrap().0, 200);
    // The first ones were let go of to get there.
    assert_eq!(idle[0].read(&mut [0]).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let endpoint = endpoint().await;
    let readiness = endpoint.readiness.watch();
    let error = MetricsServer::bind(endpoint.address, Metrics::new(), readiness)
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains(&endpoint.address.to_string()),
        "{error}"
    );
    assert!(error.to_string().contains("--metrics"), "{error}");
}

/// The clock jumps, so a second of grace is no wait; an hour would be noticed.
#[tokio::test(start_paused = true)]
async fn it_ends_when_told_whatever_connections_do() {
    let endpoint = endpoint().await;
    let mut halfway = TcpStream::connect(endpoint.address).await.unwrap();
    halfway.write_all(b"GET /metrics HTT").await.unwrap();
    let _silent = TcpStream::connect(endpoint.address).await.unwrap();
    assert_eq!(fetch(endpoint.address, "/healthz").await.0, 200);
    endpoint.shutdown.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(2), endpoint.task);
    ended.await.expect("it ends within two seconds").unwrap();
}

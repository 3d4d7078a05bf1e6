//! Strangers: what may be said before one is let in, and what becomes of those who say it wrong.

use std::time::Instant;

use futures_util::FutureExt;
use quinn::{ConnectionError, TransportErrorCode};
use weir_sdk::{Client, ConnectError};
use weir_wire::error::ErrorCode;
use weir_wire::frame::{FrameMessage, Kind};
use weir_wire::limits::{HELLO_FRAME_MAX, HELLO_TIMEOUT};
use weir_wire::produce::OpenProducer;
use weir_wire::request::{CreateTopic, Status};

use crate::raw::{Raw, dial, frame, hello, hello_of, prefix, quic, tls, with_payload, word};
use crate::stage::{Stage, connect, soon, until_status};

/// QUIC's application error codes, as PROTOCOL.md lists them.
const NOT_AUTHORISED: u64 = 1;
const VIOLATION: u64 = 2;

#[tokio::test]
async fn what_is_no_hello_is_refused_and_the_connection_closed() {
    let mut stage = Stage::start().await;
    let good = hello(&stage.broker);
    let hello_kind = Kind::Hello as u8;
    let create = CreateTopic {
        name: "stolen".parse().unwrap(),
        partitions: 1,
        settings: None,
    };
    let open = OpenProducer {
        topic: "stolen".parse().unwrap(),
        session: None,
    };
    let attacks: Vec<(&str, Vec<u8>, &str)> = vec![
        (
            "HTTP",
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
            "unknown-kind",
        ),
        ("zeros", vec![0; 100], "unknown-kind"),
        ("0xff", vec![0xff; 100], "unknown-kind"),
        ("no such kind", frame(200, 1, b"", b""), "unknown-kind"),
        (
            "version 9 of Hello",
            frame(hello_kind, 9, b"", b""),
            "unsupported-version",
        ),
        (
            "protocol version 2",
            hello_of(2, Some(stage.broker.token())),
            "unsupported-version",
        ),
        (
            "protocol version 0",
            hello_of(0, Some(stage.broker.token())),
            "unsupported-version",
        ),
        ("length 7", prefix(7, hello_kind, 1, 0), "malformed-frame"),
        (
            "a header longer than all",
            prefix(20, hello_kind, 1, 13),
            "malformed-frame",
        ),
        (
            "16 KiB and a byte",
            prefix(8 + HELLO_FRAME_MAX + 1, hello_kind, 1, HELLO_FRAME_MAX + 1),
            "frame-too-large",
        ),
        (
            "4 GiB",
            prefix(u32::MAX as usize, hello_kind, 1, 0),
            "frame-too-large",
        ),
        (
            "a payload",
            frame(hello_kind, 1, b"", b"x"),
            "frame-too-large",
        ),
        (
            "no message",
            frame(hello_kind, 1, &[0xff; 9], b""),
            "malformed-frame",
        ),
        (
            "a group",
            frame(hello_kind, 1, &[0x0b], b""),
            "malformed-frame",
        ),
        (
            "no UTF-8",
            frame(hello_kind, 1, &[0x12, 1, 0xff], b""),
            "malformed-frame",
        ),
        ("Status first", Status {}.to_frame(0), "malformed-frame"),
        ("CreateTopic first", create.to_frame(0), "malformed-frame"),
        ("OpenProducer first", open.to_frame(0), "malformed-frame"),
        (
            "8 MiB of Produce first",
            prefix(8 + (8 << 20), 42, 1, 0),
            "malformed-frame",
        ),
        (
            "cut off in its prefix",
            good[..5].to_vec(),
            "malformed-frame",
        ),
        (
            "cut off in its header",
            good[..good.len() - 1].to_vec(),
            "malformed-frame",
        ),
    ];
    for (what, bytes, expected) in attacks {
        let raw = Raw::stranger(&stage.broker).await;
        let error = raw.ask(&bytes).await.map(|frame| frame.kind);
        assert_eq!(error.as_ref().map_err(word), Err(expected), "{what}");
        assert_eq!(raw.closed().await.0, VIOLATION, "{what}");
    }
    let silent = Raw::stranger(&stage.broker).await;
    silent.talk().await.finish();
    assert_eq!(silent.closed().await.0, VIOLATION, "an empty stream");
    let missing = stage.client.admin().describe_topic("stolen").await;
    assert_eq!(
        missing.unwrap_err().fault().unwrap().code,
        ErrorCode::UnknownTopic
    );
    stage.is_unharmed().await;
    stage.end().await;
}

#[tokio::test]
async fn a_stranger_has_one_stream_sixteen_kibibytes_and_no_datagrams() {
    let mut stage = Stage::start().await;
    let raw = Raw::stranger(&stage.broker).await;
    let mut first = raw.talk().await;
    assert!(
        raw.connection.open_bi().now_or_never().is_none(),
        "a second stream"
    );
    assert!(
        raw.connection.open_uni().now_or_never().is_none(),
        "a one-way stream"
    );
    assert_eq!(raw.connection.max_datagram_size(), None);
    // All of a Hello but its last byte, which never comes: the rest finds no room at the broker.
    let token = "x".repeat(HELLO_FRAME_MAX - 64);
    let large = hello_of(1, Some(&token));
    first.say(&large[..large.len() - 1]).await;
    assert!(raw.connection.open_bi().now_or_never().is_none());
    first.say(&large[large.len() - 1..]).await;
    let error = first.last_words().await;
    assert_eq!(word(&error), "not-authorised", "it was read, as a whole");
    assert_eq!(raw.closed().await.0, NOT_AUTHORISED);

    // Let in, one has streams enough.
    let raw = Raw::client(&stage.broker).await;
    for _ in 0..100 {
        raw.talk().await;
    }
    stage.is_unharmed().await;
    stage.end().await;
}

#[tokio::test]
async fn whoever_does_not_say_hello_in_time_is_shown_the_door() {
    let stage = Stage::start().await;
    let (begun, silent) = (Instant::now(), Raw::stranger(&stage.broker).await);
    let chatty = Raw::stranger(&stage.broker).await;
    let mut talk = chatty.talk().await;
    talk.say(&hello(&stage.broker)[..3]).await;
    for raw in [&silent, &chatty] {
        let (code, reason) = raw.closed().await;
        assert_eq!(
            (code, reason.as_str()),
            (NOT_AUTHORISED, "no hello in time")
        );
    }
    // The handshake is not part of it.
    assert!(begun.elapsed() >= HELLO_TIMEOUT, "{:?}", begun.elapsed());
    stage.end().await;
}

#[tokio::test]
async fn connections_above_the_limit_are_refused_until_one_ends() {
    let stage = Stage::start_with(|config| config.limits.connections = 6).await;
    // The stage has some of them.
    let mut inside = Vec::new();
    let ca = std::fs::read(stage.broker.ca_file()).unwrap();
    let refused = loop {
        assert!(inside.len() <= 6, "nobody was refused");
        match dial(quic(tls(&ca, crate::raw::ALPN)), &stage.broker).await {
            Ok(raw) => inside.push(raw),
            Err(error) => break error,
        }
        let mut talk = inside.last().unwrap().talk().await;
        talk.say(&hello(&stage.broker)).await;
        assert_eq!(talk.answer().await.unwrap().kind, Kind::Welcome);
    };
    match refused {
        ConnectionError::ConnectionClosed(close) => {
            assert_eq!(close.error_code, TransportErrorCode::CONNECTION_REFUSED);
        }
        other => panic!("{other:?}"),
    }
    // The SDK says so too, and that it may work later.
    let another = Client::builder(stage.broker.address())
        .ca_file(stage.broker.ca_file())
        .token(stage.broker.token())
        .connect()
        .await;
    let error = another.map(drop).unwrap_err();
    assert!(
        matches!(error, ConnectError::Lost { .. }) && error.is_retryable(),
        "{error:?}"
    );

    let full = inside.len() as u64;
    inside.pop().unwrap().connection.close(0_u32.into(), b"");
    until_status(&stage.client, "a connection's end", |status| {
        status.connections < 6
    })
    .await;
    assert!(full >= 1);
    soon("the place that came free", connect(&stage.broker))
        .await
        .close()
        .await;
    drop(inside);
    stage.end().await;
}

#[tokio::test]
async fn a_token_in_the_wrong_place_is_no_token() {
    let stage = Stage::start().await;
    // As the client's name, twice (the last one counts), and behind a field that nobody knows.
    let token = stage.broker.token();
    let text = |number: u8, text: &str| {
        let mut field = vec![number << 3 | 2, text.len() as u8];
        field.extend_from_slice(text.as_bytes());
        field
    };
    let version = [0x08, 1];
    let headers = [
        (text(3, token), "not-authorised"),
        (
            [text(2, token), text(2, "wrong")].concat(),
            "not-authorised",
        ),
        ([text(2, "wrong"), text(2, token)].concat(), "let in"),
        ([text(9, "future"), text(2, token)].concat(), "let in"),
        (text(2, ""), "not-authorised"),
    ];
    for (header, expected) in headers {
        let raw = Raw::stranger(&stage.broker).await;
        let header = [&version[..], &header].concat();
        let answer = raw.ask(&frame(Kind::Hello as u8, 1, &header, b"")).await;
        let got = answer.map_or_else(|error| word(&error), |_| "let in");
        assert_eq!(got, expected, "{header:02x?}");
    }
    // Nor is what follows a good Hello on its stream: nobody reads it.
    let raw = Raw::stranger(&stage.broker).await;
    let mut talk = raw.talk().await;
    let two = [hello(&stage.broker), with_payload(&Status {}, b"")].concat();
    talk.say(&two).await;
    assert_eq!(talk.answer().await.unwrap().kind, Kind::Welcome);
    assert!(talk.hear().await.is_none());
    raw.is_alive().await;
    stage.end().await;
}

//! Filters that fail, loop, eat or lie: what a subscriber of theirs hears.

use futures_util::StreamExt;
use weir_sdk::FilterSpec;
use weir_wire::batch::Compression;
use weir_wire::error::ErrorCode;
use weir_wire::plugin::ErrorPolicy;
use weir_wire::request::BindingLimits;

use super::{filter, produce, push, subscribe, thousand};
use crate::batches::batch_of;
use crate::stage::{Stage, soon};

#[tokio::test]
async fn filters_that_fail_on_a_record_follow_their_policy() {
    let mut stage = Stage::start().await;
    stage.topic("filtered", 1).await;
    push(&stage, "traps-on-poison").await.unwrap();
    let values = thousand(&[617]);
    produce(&stage, "filtered", &values).await.unwrap();
    for (on_error, expected) in [
        (ErrorPolicy::Skip, values.clone()),
        (ErrorPolicy::Drop, [&values[..617], &values[618..]].concat()),
    ] {
        let mut subscriber = subscribe(&stage, "filtered", "traps-on-poison", on_error)
            .await
            .unwrap();
        let mut got = Vec::new();
        while got.len() < expected.len() {
            let record = soon("a record", subscriber.next()).await.unwrap().unwrap();
            got.push(record.value.unwrap().to_vec());
        }
        assert_eq!(got, expected, "{on_error}");
    }
    let mut subscriber = subscribe(&stage, "filtered", "traps-on-poison", ErrorPolicy::Fail)
        .await
        .unwrap();
    let error = soon("the end", subscriber.next())
        .await
        .unwrap()
        .unwrap_err();
    let fault = error.fault().unwrap();
    assert_eq!(fault.code, ErrorCode::PluginFailed);
    assert!(fault.message.contains("record at offset 617"), "{fault}");
    assert!(fault.message.contains("traps-on-poison"), "{fault}");
    assert!(subscriber.next().await.is_none());
    stage.is_unharmed().await;
    stage.end().await;
}

#[tokio::test]
async fn a_filter_that_has_to_rest_goes_on_afterwards() {
    const BATCHES: usize = 9;
    let mut stage = Stage::start().await;
    stage.topic("rested", 1).await;
    push(&stage, "loops-on-poison").await.unwrap();
    // After eight calls in a row in which a record was stopped at a limit, a plugin rests.
    for n in 0..BATCHES {
        let values = [format!("good {n}").into_bytes(), b"evil".to_vec()];
        produce(&stage, "rested", &values).await.unwrap();
    }
    produce(&stage, "rested", &[b"the last".to_vec()])
        .await
        .unwrap();
    let spec = FilterSpec {
        limits: Some(BindingLimits {
            cpu_ms: Some(50),
            ..BindingLimits::default()
        }),
        ..filter("loops-on-poison", ErrorPolicy::Drop)
    };
    let builder = stage.client.subscribe(["rested"]).filter(spec);
    let mut subscriber = soon("a subscription", builder.open()).await.unwrap();
    let mut expected: Vec<String> = (0..BATCHES).map(|n| format!("good {n}")).collect();
    expected.push("the last".to_owned());
    for expected in expected {
        let record = soon("a record", subscriber.next()).await.unwrap().unwrap();
        assert_eq!(record.value.unwrap(), expected);
    }
    stage.is_unharmed().await;
    stage.end().await;
}

#[tokio::test]
async fn many_guilty_records_in_a_batch_stop_nobody_whose_policy_provides_for_them() {
    let mut stage = Stage::start().await;
    stage.topic("guilty", 1).await;
    push(&stage, "traps-on-poison").await.unwrap();
    let guilty: Vec<usize> = (0..30).map(|n| n * 33).collect();
    let values = thousand(&guilty);
    for _ in 0..3 {
        produce(&stage, "guilty", &values).await.unwrap();
    }
    let innocent = values.iter().filter(|value| *value != b"evil");
    let innocent: Vec<Vec<u8>> = innocent.cloned().collect();
    let three = |values: &[Vec<u8>]| [values, values, values].concat();
    let dropping = filter("traps-on-poison", ErrorPolicy::Drop);
    let skipping = filter("traps-on-poison", ErrorPolicy::Skip);
    let letters = filter("traps-on-poison", ErrorPolicy::DeadLetter);
    let topic = || stage.client.subscribe(["guilty"]);
    for (builder, expected) in [
        (topic().filter(skipping), three(&values)),
        (topic().filter(dropping), three(&innocent)),
        (topic().filter(letters), three(&innocent)),
    ] {
        let mut subscriber = soon("a subscription", builder.open()).await.unwrap();
        for expected in expected {
            let record = soon("a record", subscriber.next()).await.unwrap().unwrap();
            assert_eq!(record.value.unwrap(), expected);
        }
    }
    assert_eq!(stage.records("guilty.dlq").await, 90);
    stage.is_unharmed().await;
    stage.end().await;
}

#[tokio::test]
async fn many_guilty_records_at_a_limit_in_batch_after_batch_are_got_past() {
    const BATCHES: usize = 4;
    let mut stage = Stage::start().await;
    stage.topic("limited", 1).await;
    push(&stage, "loops-on-poison").await.unwrap();
    // Nine are more than one call looks for, and some batches take more than eight such calls.
    let value = |n: usize| match n % 2 {
        0 => format!("good {n}").into_bytes(),
        _ => b"evil".to_vec(),
    };
    let values: Vec<Vec<u8>> = (0..18).map(value).collect();
    for _ in 0..BATCHES {
        produce(&stage, "limited", &values).await.unwrap();
    }
    let spec = FilterSpec {
        limits: Some(BindingLimits {
            cpu_ms: Some(20),
            ..BindingLimits::default()
        }),
        ..filter("loops-on-poison", ErrorPolicy::Drop)
    };
    let builder = stage.client.subscribe(["limited"]).filter(spec);
    let mut subscriber = soon("a subscription", builder.open()).await.unwrap();
    let innocent = values.iter().filter(|value| *value != b"evil");
    for expected in innocent.cycle().take(9 * BATCHES) {
        let record = soon("a record", subscriber.next()).await.unwrap().unwrap();
        assert_eq!(record.value.unwrap(), expected);
    }
    stage.is_unharmed().await;
    stage.end().await;
}

#[tokio::test]
async fn a_batch_too_slow_for_one_call_comes_in_pieces() {
    const RECORDS: usize = 1_200;
    let mut stage = Stage::start().await;
    stage.topic("slow", 1).await;
    push(&stage, "slow-per-record").await.unwrap();
    // Some milliseconds for each: more than the two and a half seconds that one call has.
    let values = vec![b"x".to_vec(); RECORDS];
    produce(&stage, "slow", &values).await.unwrap();
    let spec = FilterSpec {
        limits: Some(BindingLimits {
            cpu_ms: Some(25),
            ..BindingLimits::default()
        }),
        ..filter("slow-per-record", ErrorPolicy::Fail)
    };
    let builder = stage.client.subscribe(["slow"]).filter(spec);
    let mut subscriber = soon("a subscription", builder.open()).await.unwrap();
    for n in 0..RECORDS {
        let record = soon("a record", subscriber.next()).await.unwrap().unwrap();
        assert_eq!(record.offset.value(), n as u64);
    }
    stage.is_unharmed().await;
    stage.end().await;
}

#[tokio::test]
async fn large_records_become_dead_letters_too() {
    const BYTES: usize = 20 << 20;
    let mut stage = Stage::start().await;
    stage.topic("large", 1).await;
    push(&stage, "traps").await.unwrap();
    let producer = stage.client.producer("large").open().await.unwrap();
    let batch = batch_of(&[&vec![0; BYTES]], Compression::Zstd);
    let ticket = producer.send_batch(batch).await.unwrap();
    assert_eq!(soon("an outcome", ticket).await.unwrap().count(), 1);
    let mut subscriber = subscribe(&stage, "large", "traps", ErrorPolicy::DeadLetter)
        .await
        .unwrap();
    while !subscriber.is_caught_up() {
        soon("progress", subscriber.next_event())
            .await
            .unwrap()
            .unwrap();
    }
    let letters = stage.values("large.dlq").await;
    assert_eq!(letters.iter().map(Vec::len).collect::<Vec<_>>(), [BYTES]);
    stage.is_unharmed().await;
    stage.end().await;
}

#[tokio::test]
async fn filters_that_loop_eat_or_lie() {
    let mut stage = Stage::start().await;
    stage.topic("watched", 1).await;
    produce(&stage, "watched", &[b"x".to_vec()]).await.unwrap();
    for (plugin, message) in [
        ("loops", "it used more than its 100ms of processor time"),
        (
            "eats-memory",
            "it needs more than its 67108864 bytes of memory",
        ),
        ("too-few", "answered 0 verdicts for 1 records"),
        ("too-many", "answered 2 verdicts for 1 records"),
        ("out-of-range", "answered 7 for record 0"),
        ("huge-answer", "returned or logged more bytes than it may"),
        ("wild-pointer", "the plugin trapped"),
        ("traps", "unreachable"),
    ] {
        push(&stage, plugin).await.unwrap();
        let mut failing = subscribe(&stage, "watched", plugin, ErrorPolicy::Fail)
            .await
            .unwrap();
        let error = soon("the end", failing.next()).await.unwrap().unwrap_err();
        let fault = error.fault().unwrap();
        assert_eq!(fault.code, ErrorCode::PluginFailed, "{plugin}");
        assert!(fault.message.contains(message), "{plugin}: {fault}");
        let mut skipping = subscribe(&stage, "watched", plugin, ErrorPolicy::Skip)
            .await
            .unwrap();
        let record = soon("the record", skipping.next()).await.unwrap().unwrap();
        assert_eq!(record.value.unwrap(), "x", "{plugin}");
        let mut dropping = subscribe(&stage, "watched", plugin, ErrorPolicy::Drop)
            .await
            .unwrap();
        match soon("progress", dropping.next_event())
            .await
            .unwrap()
            .unwrap()
        {
            weir_sdk::Event::Progress(progress) => assert_eq!(progress.filtered_out, 1, "{plugin}"),
            other => panic!("{plugin}: {other:?}"),
        }
        stage.is_unharmed().await;
    }
    stage.end().await;
}

#[tokio::test]
async fn filters_that_do_not_even_start() {
    let mut stage = Stage::start().await;
    stage.topic("unstarted", 1).await;
    for (plugin, message) in [
        (
            "configure-loops",
            "it used more than its 100ms of processor time",
        ),
        (
            "starts-looping",
            "it used more than its 100ms of processor time",
        ),
        ("configure-traps", "unreachable"),
        ("configure-refuses", "no configuration pleases me"),
        ("wasi-import", ""),
    ] {
        push(&stage, plugin).await.unwrap();
        let subscribed = subscribe(&stage, "unstarted", plugin, ErrorPolicy::Skip).await;
        let error = subscribed.map(drop).unwrap_err();
        let fault = error.fault().unwrap();
        assert_eq!(fault.code, ErrorCode::InvalidArgument, "{plugin}: {fault}");
        assert!(fault.message.contains(message), "{plugin}: {fault}");
        assert!(fault.message.contains(plugin), "{plugin}: {fault}");
        stage.is_unharmed().await;
    }
    stage.end().await;
}

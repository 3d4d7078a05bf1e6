//! Uploads that are no plugins, or take long, or are removed at the same time.

use bytes::Bytes;
use weir_wire::error::ErrorCode;

use super::{prebuilt, push};
use crate::stage::{Stage, soon};

#[path = "../../../broker/host/tests/host/bomb.rs"]
mod bomb;

#[tokio::test]
async fn uploads_that_are_no_plugins() {
    let mut stage = Stage::start().await;
    let admin = stage.client.admin();
    let sound = prebuilt("tag-filter");
    let hostile = |name: &str| prebuilt(&format!("hostile/{name}"));
    let uploads: Vec<(&str, Bytes, &str)> = vec![
        ("empty", Bytes::new(), "empty"),
        (
            "text",
            Bytes::from_static(b"#!/bin/sh\nrm -rf /\n"),
            "not WebAssembly",
        ),
        (
            "a core module",
            Bytes::from_static(b"\0asm\x01\0\0\0"),
            "core WebAssembly module",
        ),
        ("a header alone", sound.slice(..8), ""),
        ("half", sound.slice(..sound.len() / 2), ""),
        ("all but a byte", sound.slice(..sound.len() - 1), ""),
        (
            "no lifecycle",
            hostile("no-lifecycle"),
            "does not export `weir:plugin/lifecycle",
        ),
        ("no hook", hostile("no-hook"), "it exports no hook"),
        (
            "a wrong name",
            hostile("wrong-name"),
            "has no function `filter`",
        ),
        ("a wrong type", hostile("wrong-type"), "has the wrong type"),
        (
            "a wrong record",
            hostile("wrong-batch"),
            "has the wrong type",
        ),
        (
            "a foreign import",
            hostile("foreign-import"),
            "it imports `test:hostile/secrets`",
        ),
        (
            "another version",
            hostile("other-version"),
            "version 1 of weir:plugin",
        ),
    ];
    for (what, component, message) in uploads {
        let error = soon("an upload", admin.push_plugin("bad", component))
            .await
            .unwrap_err();
        let fault = error.fault().unwrap_or_else(|| panic!("{what}: {error:?}"));
        assert_eq!(fault.code, ErrorCode::InvalidPlugin, "{what}: {fault}");
        assert!(fault.message.contains(message), "{what}: {fault}");
    }
    assert!(admin.list_plugins().await.unwrap().is_empty());
    stage.is_unharmed().await;
    stage.end().await;
}

#[tokio::test]
async fn an_upload_that_takes_long_to_compile_holds_nobody_up() {
    let second = std::time::Duration::from_secs(1);
    let mut stage = Stage::start_with(|config| config.plugins.compile_time = second).await;
    let client = stage.client.clone();
    let admin = client.admin();
    let mut upload = tokio::spawn(async move { admin.push_plugin("slow", bomb::bomb()).await });
    // Others go on while it compiles, not only afterwards.
    let mut rounds = 0;
    let error = loop {
        tokio::select! {
            biased;
            uploaded = &mut upload => break uploaded.unwrap().unwrap_err(),
            () = stage.is_unharmed() => rounds += 1,
        }
    };
    println!("{rounds} rounds while it compiled");
    assert!(rounds > 0);
    let fault = error.fault().unwrap();
    assert_eq!(fault.code, ErrorCode::InvalidPlugin, "{fault}");
    assert!(
        fault.message.contains("more than 1s of processor time"),
        "{fault}"
    );
    stage.end().await;
}

/// A version that is removed while it is pushed again is there afterwards or it is not: what is
/// listed can be fetched.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_pushed_and_removed_at_once_is_whole_or_gone() {
    let stage = Stage::start().await;
    let name = "keys-trap-on-poison";
    for _ in 0..10 {
        push(&stage, name).await.unwrap();
        let admin = stage.client.admin();
        let (pushed, removed) = tokio::join!(push(&stage, name), admin.remove_plugin(name, None));
        pushed.unwrap();
        removed.unwrap();
        if admin.list_plugins().await.unwrap().is_empty() {
            continue;
        }
        let (_, component) = admin.fetch_plugin(name, None).await.unwrap();
        assert_eq!(component, prebuilt(&format!("hostile/{name}")));
    }
    stage.end().await;
}

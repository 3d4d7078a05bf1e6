//! Contexts as a file and as a set.

use expect_test::expect;

use super::*;

fn context(port: u16, data: Option<&str>) -> Context {
    Context {
        address: format!("127.0.0.1:{port}").parse().unwrap(),
        ca: Some("/ca.pem".into()),
        token_file: None,
        data: data.map(PathBuf::from),
    }
}

#[test]
fn the_file_keeps_everything() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("weir/contexts.toml");
    assert_eq!(Contexts::load(&path).unwrap(), Contexts::default());

    Contexts::change(&path, |contexts| {
        contexts.add("local", context(7650, Some("/data")))?;
        contexts.add("far", context(7651, None))
    })
    .unwrap();
    expect![[r#"
        current = "local"

        [contexts.far]
        address = "weir://127.0.0.1:7651"
        ca = "/ca.pem"

        [contexts.local]
        address = "weir://127.0.0.1:7650"
        ca = "/ca.pem"
        data = "/data"
    "#]]
    .assert_eq(&fs::read_to_string(&path).unwrap());

    Contexts::change(&path, |contexts| contexts.select("far")).unwrap();
    let contexts = Contexts::load(&path).unwrap();
    assert_eq!(contexts.current(), Some(&context(7651, None)));
}

#[test]
fn a_failed_change_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("contexts.toml");
    Contexts::change(&path, |contexts| contexts.add("a", context(1, None))).unwrap();
    let error = Contexts::change(&path, |contexts| {
        contexts.remove("a")?;
        contexts.select("b")
    })
    .unwrap_err();
    expect![[r#"there is no context "b"; make one: weir context add NAME ADDRESS"#]]
        .assert_eq(&error.to_string());
    assert!(Contexts::load(&path).unwrap().named("a").is_ok());
}

#[test]
fn a_damaged_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("contexts.toml");
    fs::write(&path, "[contexts.a]\naddress = 3\n").unwrap();
    let message = Contexts::load(&path).unwrap_err().to_string();
    assert!(message.contains(path.to_str().unwrap()), "{message}");
    assert!(message.contains("correct it or move it away"), "{message}");
}

#[test]
fn names_are_checked() {
    let mut contexts = Contexts::default();
    for name in ["", "a b", "a/b", ".."] {
        assert!(contexts.add(name, context(1, None)).is_err(), "{name:?}");
    }
}

#[test]
fn removing_the_current_context_selects_no_other() {
    let mut contexts = Contexts::default();
    contexts.add("a", context(1, None)).unwrap();
    contexts.add("b", context(2, None)).unwrap();
    assert_eq!(contexts.current.as_deref(), Some("a"));
    contexts.remove("a").unwrap();
    assert_eq!(contexts.current(), None);
    contexts.add("c", context(3, None)).unwrap();
    assert_eq!(contexts.current.as_deref(), Some("c"));
}

#[test]
fn a_live_brokers_local_is_left_alone() {
    let mut contexts = Contexts::default();
    let first = context(1, Some("/one"));
    let second = context(2, Some("/two"));
    let all_live = |_: &Context| true;
    assert_eq!(
        contexts.record_local(first.clone(), all_live).unwrap(),
        "local"
    );
    // The same data directory again is a refresh, on whatever address.
    let moved = context(9, Some("/one"));
    assert_eq!(contexts.record_local(moved, all_live).unwrap(), "local");
    assert_eq!(
        contexts.record_local(second.clone(), all_live).unwrap(),
        "local-2"
    );
    assert_eq!(contexts.current.as_deref(), Some("local"));
    // A dead broker's name is free.
    assert_eq!(contexts.record_local(second, |_| false).unwrap(), "local");
}

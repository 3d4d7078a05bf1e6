//! The precedence of flag, environment and context, and that tokens stay with their address.

use super::*;
use crate::context::Context;

fn contexts() -> Contexts {
    let context = |name: &str, port: u16| Context {
        address: format!("127.0.0.1:{port}").parse().unwrap(),
        ca: Some(format!("/{name}/ca").into()),
        token_file: Some(format!("/{name}/token").into()),
        data: None,
    };
    let mut contexts = Contexts::default();
    contexts.add("one", context("one", 1)).unwrap();
    contexts.add("two", context("two", 2)).unwrap();
    contexts
}

fn args(broker: Option<&str>) -> ConnectArgs {
    ConnectArgs {
        broker: broker.map(|text| text.parse().unwrap()),
        ..ConnectArgs::default()
    }
}

fn file(path: &str) -> Option<Token> {
    Some(Token::File(path.into()))
}

#[track_caller]
fn check(args: &ConnectArgs, environment: &Environment, expected: (&str, &str, Option<Token>)) {
    let target = Target::resolve(args, environment, &contexts()).unwrap();
    let ca = target.ca.unwrap_or_default();
    let found = (target.address.to_string(), ca.display().to_string());
    assert_eq!(found, (expected.0.to_owned(), expected.1.to_owned()));
    assert_eq!(target.token, expected.2);
}

#[test]
fn without_an_address_the_current_context_counts() {
    check(
        &args(None),
        &Environment::default(),
        ("weir://127.0.0.1:1", "/one/ca", file("/one/token")),
    );
}

#[test]
fn with_an_address_its_own_context_counts() {
    check(
        &args(Some("127.0.0.1:2")),
        &Environment::default(),
        ("weir://127.0.0.1:2", "/two/ca", file("/two/token")),
    );
}

#[test]
fn a_contexts_token_goes_to_no_other_address() {
    check(
        &args(Some("127.0.0.1:3")),
        &Environment::default(),
        ("weir://127.0.0.1:3", "", None),
    );
    let environment = Environment {
        broker: Some("evil.example".to_owned()),
        ..Environment::default()
    };
    check(
        &args(None),
        &environment,
        ("weir://evil.example:7650", "", None),
    );
}

#[test]
fn flag_before_environment_before_context() {
    let environment = Environment {
        broker: Some("127.0.0.1:2".to_owned()),
        ca: Some("/env/ca".into()),
        token: Some("secret".to_owned()),
        contexts: None,
    };
    let token = Some(Token::Text("secret".to_owned()));
    check(
        &args(None),
        &environment,
        ("weir://127.0.0.1:2", "/env/ca", token),
    );
    let flags = ConnectArgs {
        ca: Some("/flag/ca".into()),
        token_file: Some("/flag/token".into()),
        ..args(Some("127.0.0.1:1"))
    };
    let token = file("/flag/token");
    check(
        &flags,
        &environment,
        ("weir://127.0.0.1:1", "/flag/ca", token),
    );
}

#[test]
fn nothing_given_means_this_machine() {
    let target = Target::resolve(&args(None), &Environment::default(), &Contexts::default());
    assert_eq!(target.unwrap().address, Address::default());
}

#[test]
fn without_a_current_context_the_one_for_this_machine_counts() {
    let mut contexts = contexts();
    contexts.current = None;
    let here = Context {
        address: Address::default(),
        ca: Some("/here/ca".into()),
        token_file: Some("/here/token".into()),
        data: None,
    };
    contexts.contexts.insert("here".to_owned(), here);
    let target = Target::resolve(&args(None), &Environment::default(), &contexts).unwrap();
    assert_eq!(target.ca, Some("/here/ca".into()));
    assert_eq!(target.token, file("/here/token"));
}

#[test]
fn a_bad_address_in_the_environment_is_wrong_usage() {
    let environment = Environment {
        broker: Some("not an address".to_owned()),
        ..Environment::default()
    };
    let failure = Target::resolve(&args(None), &environment, &contexts()).unwrap_err();
    assert_eq!(failure.exit(), Exit::Usage);
    assert!(
        failure.to_string().starts_with("WEIR_BROKER: "),
        "{failure}"
    );
}

#[test]
fn a_token_is_not_printed() {
    let token = Token::Text("secret".to_owned());
    assert!(!format!("{token:?}").contains("secret"));
}

//! The sample components, and binding them.

use bytes::Bytes;
use weir_sdk::wire::plugin::Hook;
use weir_sdk::wire::request::{Bind, Route, Setting};
use weir_sdk::{Admin, FilterSpec};

/// A component of `plugins/prebuilt`.
#[must_use]
pub fn prebuilt(name: &str) -> Vec<u8> {
    let path = format!(
        "{}/../../plugins/prebuilt/{name}.wasm",
        env!("CARGO_MANIFEST_DIR")
    );
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The same code as another version: an empty custom section gives it another hash.
#[must_use]
pub fn another_version(component: &[u8], number: u8) -> Vec<u8> {
    // Section 0, two bytes long: a name of one byte, and no content.
    [component, &[0, 2, 1, b'a' + number % 26]].concat()
}

/// Uploads a component of `plugins/prebuilt` under its own name.
pub async fn push(admin: &Admin, name: &str) {
    push_as(admin, name, prebuilt(name)).await;
}

/// Uploads a component; answers its version.
pub async fn push_as(admin: &Admin, name: &str, component: impl Into<Bytes>) -> String {
    let pushed = admin.push_plugin(name, component).await;
    let pushed = pushed.unwrap_or_else(|error| panic!("plugin {name} is pushed: {error}"));
    pushed.version.version.to_string()
}

/// A binding at the hook `key`.
#[must_use]
pub fn key(topic: &str, plugin: &str, setting: (&str, &str)) -> Bind {
    bind(topic, plugin, Hook::Key, setting, &[])
}

/// A binding at the hook `route`; routes as (value, topic).
#[must_use]
pub fn route(topic: &str, plugin: &str, setting: (&str, &str), routes: &[(&str, &str)]) -> Bind {
    bind(topic, plugin, Hook::Route, setting, routes)
}

/// A filter of a subscription.
#[must_use]
pub fn filter(plugin: &str, setting: (&str, &str)) -> FilterSpec {
    FilterSpec {
        plugin: plugin.parse().expect("tests name plugins well"),
        version: None,
        config: vec![settings(setting)],
        on_error: None,
        limits: None,
    }
}

fn bind(
    topic: &str,
    plugin: &str,
    hook: Hook,
    setting: (&str, &str),
    routes: &[(&str, &str)],
) -> Bind {
    let routes = routes.iter().map(|(value, topic)| Route {
        value: (*value).to_owned(),
        topic: topic.parse().expect("tests name topics well"),
        partition: None,
    });
    let plugin = plugin.parse().expect("tests name plugins well");
    let topic = topic.parse().expect("tests name topics well");
    Bind {
        config: vec![settings(setting)],
        routes: routes.collect(),
        ..Bind::new(plugin, topic, hook)
    }
}

fn settings((name, value): (&str, &str)) -> Setting {
    Setting {
        name: name.to_owned(),
        value: value.to_owned(),
    }
}

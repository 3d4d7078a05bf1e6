//! The fields of a configuration by their names: all of them are printed, and one that is wrong is
//! named with an example.

use std::net::SocketAddr;

use toml::{Table, Value};

use super::Config;

/// The configuration as a file. Fields that are not set stand in it as comments, with an example.
pub(super) fn print(config: &Config) -> String {
    let set = table(config);
    let text = toml::to_string(&filled(config)).expect("all is text, and paths came from text");
    let mut section = "";
    let mut printed = String::new();
    for line in text.lines() {
        section = section_of(line).unwrap_or(section);
        let is_set = key_of(line).is_none_or(|key| find(&set, section, key).is_some());
        if !is_set {
            printed.push_str("# ");
        }
        printed.push_str(line);
        printed.push('\n');
    }
    printed
}

/// The field that stands in the text at that byte, and a line that could stand there.
pub(super) fn at(text: &str, byte: usize) -> Option<(String, String)> {
    let begins = text.get(..byte)?.rfind('\n').map_or(0, |at| at + 1);
    let before = text.get(..begins)?;
    let line = text.get(begins..)?.lines().next()?;
    let section = before.lines().rev().find_map(section_of).unwrap_or("");
    let key = key_of(line)?;
    let examples = table(&filled(&Config::default()));
    let example = find(&examples, section, key).filter(|it| !it.is_table())?;
    let name = [section, key].into_iter().filter(|part| !part.is_empty());
    let name = name.collect::<Vec<_>>().join(".");
    Some((name, format!("{key} = {example}")))
}

/// Examples where nothing is set.
fn filled(config: &Config) -> Config {
    let mut filled = config.clone();
    let metrics = SocketAddr::from(([127, 0, 0, 1], 9650));
    filled.metrics.get_or_insert(metrics);
    for (field, example) in [
        (&mut filled.tls.cert, "/etc/weir/broker.pem"),
        (&mut filled.tls.key, "/etc/weir/broker.key"),
        (&mut filled.tls.client_ca, "/etc/weir/clients.pem"),
        (&mut filled.plugins.compiler, "/usr/bin/weir"),
    ] {
        field.get_or_insert_with(|| example.into());
    }
    filled
}

fn table(config: &Config) -> Table {
    Table::try_from(config).expect("all is text, and paths came from text")
}

fn find<'a>(table: &'a Table, section: &str, key: &str) -> Option<&'a Value> {
    let mut parts = section.split('.').chain(key.split('.'));
    let last = parts.next_back()?;
    let mut table = table;
    for part in parts.filter(|part| !part.is_empty()) {
        table = table.get(part)?.as_table()?;
    }
    table.get(last)
}

fn section_of(line: &str) -> Option<&str> {
    let name = line.trim().strip_prefix('[')?.split(']').next()?;
    Some(name.trim())
}

fn key_of(line: &str) -> Option<&str> {
    line.split_once('=').map(|(key, _)| key.trim())
}

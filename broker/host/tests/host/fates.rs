//! What becomes of each hostile component, from upload to its first records, in the very words that
//! its author gets; and that none of them costs more than it may, or leaves anything behind.

use crate::support::{
    block, config, host_with, limits, patient, prebuilt, prebuilt_folder, sample, tagged, values,
};
use expect_test::expect_file;
use std::fmt::Write;
use std::time::{Duration, Instant};
use weir_host::{Attempt, Bound, CallError, Host, HostConfig, RecordFailure};
use weir_wire::plugin::Hook;

/// Far more than any of them takes, on a busy machine too, far less than for ever.
const PATIENCE: Duration = Duration::from_secs(120);
/// Processor time of all calls of one component: its limit once in `configure`, then for each of
/// two records and both of them, and the same again for those that are asked twice; and of making
/// an instance for each of them. Those that take memory may take longer.
const CPU: Duration = Duration::from_secs(3);

/// Those that take memory until they are stopped.
const MEMORY: [&str; 4] = [
    "configure-eats-memory",
    "eats-memory",
    "keys-eat-memory",
    "starts-eating",
];

/// All of them, sorted.
fn names() -> Vec<String> {
    let entries = std::fs::read_dir(prebuilt_folder().join("hostile")).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().path())
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

/// Two records, of which the first trips those that look for something.
fn call(bound: &Bound, hook: Hook) -> String {
    let input = values(&["evil", "good"]);
    match hook {
        Hook::Filter => told(block(bound.filter(input)), |made| {
            (format!("{:?}", made.values), made.failures)
        }),
        Hook::Key => told(block(bound.keys(input)), |made| {
            (format!("{} keys", made.values.len()), made.failures)
        }),
        Hook::Route => told(block(bound.route(input)), |made| {
            (format!("{:?}", made.values), made.failures)
        }),
        Hook::RetryPolicy => {
            let attempt = Attempt {
                number: 1,
                message: "no".to_owned(),
            };
            let decided = block(bound.decide(input, vec![attempt.clone(), attempt]));
            told(decided, |made| {
                (format!("{:?}", made.values), made.failures)
            })
        }
        mapper => {
            let made = match mapper {
                Hook::Transform => block(bound.transform(input)),
                _ => block(bound.project(input)),
            };
            told(made, |made| {
                let reasons = made.rejected.iter().map(|rejection| {
                    let reason = rejection.reason.as_str();
                    format!(", rejects {} in {} bytes", rejection.index, reason.len())
                });
                let outputs = format!("{} outputs{}", made.count, reasons.collect::<String>());
                (outputs, made.failures)
            })
        }
    }
}

fn told<T>(
    result: Result<T, CallError>,
    parts: impl FnOnce(T) -> (String, Vec<RecordFailure>),
) -> String {
    match result {
        Err(error) => format!("refuses the batch: {error}"),
        Ok(made) => {
            let (made, failures) = parts(made);
            match &failures[..] {
                [] => made,
                [one, other] if one.message == other.message => {
                    format!("both records fail: {}", shortened(&one.message))
                }
                some => some.iter().fold(made, |text, failure| {
                    let message = shortened(&failure.message);
                    format!("{text}, record {} fails: {message}", failure.index)
                }),
            }
        }
    }
}

/// A message that is long on purpose need not be read to its end.
fn shortened(message: &str) -> String {
    match message.char_indices().nth(300) {
        Some((end, _)) => format!("{} ... ({} bytes)", &message[..end], message.len()),
        None => message.to_owned(),
    }
}

/// The lines of one component.
fn fate(host: &Host, name: &str) -> String {
    let compiled = match block(host.compile(prebuilt(&format!("hostile/{name}")))) {
        Ok(compiled) => compiled,
        Err(error) => return format!("{name}: cannot be uploaded: {error}\n"),
    };
    let plugin = match host.load(compiled.version, &compiled.artifact) {
        Ok(plugin) => plugin,
        Err(error) => return format!("{name}: cannot be loaded: {error}\n"),
    };
    let mut lines = String::new();
    for hook in plugin.hooks() {
        let routes: &[String] = match hook {
            Hook::Route => &["a".to_owned(), "b".to_owned()],
            _ => &[],
        };
        let takes_memory = MEMORY.contains(&name);
        let limits = if takes_memory { patient() } else { limits() };
        match block(host.bind(&plugin, *hook, &[], routes, limits)) {
            Err(error) => writeln!(lines, "{name} {hook}: cannot be bound: {error}").unwrap(),
            Ok(bound) => {
                writeln!(lines, "{name} {hook}: {}", call(&bound, *hook)).unwrap();
                if let Some(line) = bound.log_lines().first() {
                    let message = shortened(&line.message);
                    writeln!(lines, "{name} {hook}: its log begins: {message}").unwrap();
                }
                let stats = bound.stats();
                assert!(takes_memory || stats.cpu < CPU, "{name} {hook}: {stats:?}");
                assert!(stats.memory_max <= 64 << 20, "{name} {hook}: {stats:?}");
            }
        }
    }
    lines
}

#[test]
fn each_is_told_what_it_did_wrong_and_none_is_noticed_by_others() {
    let names = names();
    assert!(names.len() >= 100, "{} of them", names.len());
    let idle = Duration::from_millis(1);
    let host = host_with(HostConfig { idle, ..config() });
    let innocent = sample("tag-filter");
    let innocent = crate::support::bind(&innocent, Hook::Filter, &[("tags", "UA")], &[]);
    let mut report = String::new();
    for name in &names {
        let start = Instant::now();
        report.push_str(&fate(&host, name));
        assert!(start.elapsed() < PATIENCE, "{name}: {:?}", start.elapsed());
        let verdicts = block(innocent.filter(tagged(&[Some("UA"), None]))).unwrap();
        assert_eq!(verdicts.values, [true, false], "after {name}");
    }
    expect_file!["fates.txt"].assert_eq(&report);
    // Nothing is left of them.
    let start = Instant::now();
    while host.memory_used() > 0 {
        assert!(start.elapsed() < PATIENCE, "{} bytes", host.memory_used());
        std::thread::yield_now();
    }
}

//! `weir log`: a data directory that no broker has open.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::home::{Done, Home};

/// A data directory with two topics in two WAL blocks or more; the broker is gone.
fn filled(home: &Home) -> String {
    let broker = home.serve("data", &[]);
    home.ok(&["topic", "create", "orders", "--partitions", "2"]);
    home.ok(&["topic", "create", "notes"]);
    let produce = |topic: &str, partition: &str, input: &str| {
        let arguments = [
            "produce",
            topic,
            "--partition",
            partition,
            "--key-separator",
            ":",
        ];
        home.weir_with_input(&arguments, input.as_bytes()).expect(0);
    };
    produce("orders", "0", "a:first order\nb:second order\n");
    produce("notes", "0", "n:only note\n");
    produce("orders", "1", "c:third order\n");
    produce("orders", "0", "d:fourth order\n");
    drop(broker);
    home.path("data").to_str().unwrap().to_owned()
}

#[track_caller]
fn object(done: &Done) -> Value {
    serde_json::from_str(&done.stdout).unwrap()
}

fn wal_files(data: &str) -> Vec<PathBuf> {
    let folder = Path::new(data).join("log/wal");
    let files = std::fs::read_dir(folder).unwrap();
    files.map(|item| item.unwrap().path()).collect()
}

/// The newest checkpoint's catalog, if there is one.
fn catalog(home: &Home) -> Option<PathBuf> {
    let names = std::fs::read_dir(home.path("data/log/checkpoints"));
    let paths = names.into_iter().flatten().map(|item| item.unwrap().path());
    let is_catalog = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with("catalog-")
    };
    paths.filter(is_catalog).max()
}

/// Produces a MiB at a time to a topic, until something is so.
fn fill_until(home: &Home, topic: &str, what: &str, is_so: impl Fn() -> bool) {
    let lines = format!("{}\n", "x".repeat(1000)).repeat(1000);
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "no {what}");
        home.weir_with_input(&["produce", topic], lines.as_bytes())
            .expect(0);
    }
}

/// The one file of the WAL that holds these bytes, and where.
fn find(data: &str, bytes: &[u8]) -> (PathBuf, usize) {
    let mut found = wal_files(data).into_iter().filter_map(|path| {
        let content = std::fs::read(&path).unwrap();
        let at = content
            .windows(bytes.len())
            .position(|window| window == bytes)?;
        Some((path, at))
    });
    found.next_back().unwrap()
}

fn flip(path: &Path, at: usize) {
    let mut content = std::fs::read(path).unwrap();
    content[at] ^= 1;
    std::fs::write(path, content).unwrap();
}

#[test]
fn a_log_is_looked_at_checked_and_emptied() {
    let home = Home::new();
    let data = filled(&home);
    let found = &home.json(&["log", "inspect", &data])[0];
    assert_eq!(found["topics"][0]["topic"], "orders");
    assert_eq!(found["topics"][1]["deleted"], false);
    assert!(found["node"].is_string(), "{found}");
    assert!(found["wal"][0]["blocks"].as_u64().unwrap() > 3, "{found}");
    assert!(found["end"]["last_block"].as_u64().unwrap() > 3, "{found}");
    assert_eq!(found["damages"], Value::Array(Vec::new()));
    let text = home.ok(&["log", "inspect", &data]);
    assert!(text.contains("ends at    block"), "{text}");

    let checked = &home.json(&["log", "verify", &data])[0];
    assert_eq!(
        (&checked["records"], &checked["batches"]),
        (&5.into(), &4.into())
    );
    assert_eq!(checked["damages"], Value::Array(Vec::new()));
    assert!(home.ok(&["log", "verify", &data]).contains("sound    yes"));

    let report = &home.json(&["log", "rescue", &data, "--out", "all.ndjson"])[0];
    assert_eq!(
        (&report["records"], &report["batches"]),
        (&5.into(), &4.into())
    );
    let rescued = std::fs::read_to_string(home.path("all.ndjson")).unwrap();
    let lines = |topic: &str| -> String {
        let wanted = format!("{{\"topic\":\"{topic}\"");
        let lines = rescued.lines().filter(|line| line.starts_with(&wanted));
        lines.map(|line| format!("{line}\n")).collect()
    };
    // The log is as it was: a broker serves it, and says the same of each record.
    let _broker = home.serve("data", &[]);
    for (topic, partition) in [("orders", "0"), ("orders", "1"), ("notes", "0")] {
        let consume = ["consume", topic, "--partition", partition, "--until-end"];
        let served = home.ok(&[&consume[..], &["--output", "json"]].concat());
        assert!(
            !served.is_empty() && lines(topic).contains(&served),
            "{served}\n{rescued}"
        );
    }
}

#[test]
fn a_running_broker_keeps_its_directory() {
    let home = Home::new();
    let _broker = home.serve("data", &[]);
    for arguments in [
        &["log", "inspect", "data"][..],
        &["log", "verify", "data"],
        &["log", "rescue", "data", "--out", "out"],
    ] {
        home.weir(arguments)
            .fails(1, "in use by a running broker; stop it first");
    }
    assert!(!home.path("out").exists());
}

#[test]
fn only_the_wanted_records_are_rescued() {
    let home = Home::new();
    let data = filled(&home);
    let broker = home.serve("data", &[]);
    home.ok(&["topic", "delete", "notes", "--yes"]);
    drop(broker);
    let values = |more: &[&str], out: &str| -> Vec<String> {
        home.ok(&[&["log", "rescue", &data, "--out", out], more].concat());
        let text = std::fs::read_to_string(home.path(out)).unwrap();
        let values = text.lines().map(|line| {
            let record: Value = serde_json::from_str(line).unwrap();
            record["value"].as_str().unwrap().to_owned()
        });
        values.collect()
    };
    let all = ["first order", "second order", "fourth order", "third order"];
    assert_eq!(values(&[], "all"), all, "the deleted topic is left out");
    let one = ["--topic", "orders", "--partition", "1"];
    assert_eq!(values(&one, "one"), ["third order"]);
    home.weir(&["log", "rescue", &data, "--out", "none", "--topic", "ordres"])
        .fails(1, "did you mean \"orders\"");
    home.weir(&["log", "rescue", &data, "--out", "none", "--partition", "1"])
        .fails(2, "--topic");
}

#[test]
fn damage_is_found_and_everything_around_it_rescued() {
    let home = Home::new();
    let data = filled(&home);
    let (path, at) = find(&data, b"third order");
    flip(&path, at);
    let done = home
        .weir(&["log", "verify", &data, "--output", "json"])
        .expect(1);
    assert!(done.stderr.contains("weir log rescue"), "{done:?}");
    let damages = object(&done)["damages"].clone();
    assert_eq!(damages.as_array().unwrap().len(), 1, "{damages}");
    assert_eq!(damages[0]["file"], path.to_str().unwrap());
    let offset = damages[0]["offset"].as_u64().unwrap();
    assert!(
        (at - 4096..=at).contains(&(offset as usize)),
        "{damages} for {at}"
    );
    assert_eq!(damages[0]["partitions"][0]["topic"], "orders");
    assert_eq!(damages[0]["partitions"][0]["partition"], 1);

    // Nothing came after it in its partition: what the block says of itself is all that tells.
    let done = home
        .weir(&["log", "rescue", &data, "--out", "out"])
        .expect(1);
    assert!(
        done.stdout
            .contains("perhaps lost: orders/1 offsets 0 up to an unknown end"),
        "{done:?}"
    );
    assert!(
        done.stderr.contains("what came last in 1 partition"),
        "{done:?}"
    );
    let rescued = std::fs::read_to_string(home.path("out")).unwrap();
    for value in ["first order", "second order", "only note", "fourth order"] {
        assert!(rescued.contains(value), "{value}: {rescued}");
    }
    assert_eq!(rescued.lines().count(), 4);

    // Further on in a partition, what is gone is a gap between what is there.
    let (path, at) = find(&data, b"second order");
    flip(&path, at);
    let done = home
        .weir(&["log", "rescue", &data, "--out", "out2"])
        .expect(1);
    assert!(
        done.stdout.contains("lost: orders/0 offsets 0 to 2"),
        "{done:?}"
    );
    assert!(done.stderr.contains("1 gap"), "{done:?}");
}

/// What is damaged or lost is a failure also if nobody reads the counts; otherwise nothing is wrong.
#[test]
fn a_closed_output_hides_no_damage() {
    let home = Home::new();
    let data = filled(&home);
    let rescue = ["log", "rescue", &data, "--out"];
    let whole = [&rescue[..], &["whole"]].concat();
    let lossy = [&rescue[..], &["lossy"]].concat();
    for sound in [
        &["log", "inspect", &data][..],
        &["log", "verify", &data],
        &["log", "verify", &data, "--output", "json"],
        &whole,
    ] {
        let done = home.weir_unread(sound).expect(0);
        assert_eq!(done.stderr, "", "{sound:?}");
    }
    let (path, at) = find(&data, b"second order");
    flip(&path, at);
    home.weir_unread(&["log", "verify", &data])
        .fails(1, "1 damage in");
    home.weir_unread(&lossy)
        .fails(1, "cannot be read; everything else is in lossy");
    for (file, lines) in [("whole", 5), ("lossy", 3)] {
        let rescued = std::fs::read_to_string(home.path(file)).unwrap();
        assert_eq!(rescued.lines().count(), lines, "{file}: {rescued}");
        assert!(!home.path(&format!("{file}.incomplete")).exists());
    }
}

/// The catalog alone knows the names of topics whose making is in the WAL no longer.
#[test]
fn topics_that_lost_their_names_are_told() {
    let home = Home::new();
    let config = home.file("weir.toml", "[log]\nwal_file_bytes = \"1MiB\"\n");
    let broker = home.serve("data", &["--config", &config]);
    home.ok(&["topic", "create", "orders"]);
    fill_until(&home, "orders", "checkpoint", || catalog(&home).is_some());
    broker.stop();
    let partition = ["--topic", "orders", "--partition", "1"];
    home.weir(&[&["log", "rescue", "data", "--out", "none"][..], &partition].concat())
        .fails(
            1,
            "topic \"orders\" has no partition 1; it has 1, numbered from 0",
        );
    flip(&catalog(&home).unwrap(), 80);
    let done = home
        .weir(&["log", "rescue", "data", "--out", "out"])
        .expect(1);
    assert!(done.stderr.contains("damaged: "), "{done:?}");
    assert!(
        done.stderr
            .contains("names of topics are lost: their records are under unknown/topic-"),
        "{done:?}"
    );
    let rescued = std::fs::read_to_string(home.path("out")).unwrap();
    assert!(
        rescued.contains("{\"topic\":\"unknown/topic-"),
        "it is what this is about"
    );
    home.weir(&[
        "log", "rescue", "data", "--out", "none", "--topic", "orders",
    ])
    .fails(1, "names of topics may be lost, \"orders\" among them");
    let found = home.weir(&["log", "inspect", "data"]).expect(0);
    assert!(found.stderr.contains("catalog-"), "{found:?}");
}

/// Once a checkpoint is behind a topic's deletion, nothing tells of it any more but that its name
/// is missing; its records may still be in a segment that others share.
#[test]
fn records_of_deleted_topics_do_not_come_back() {
    let home = Home::new();
    let config = "[log]\nwal_file_bytes = \"1MiB\"\nwal_bytes = \"4MiB\"\n";
    let config = home.file("weir.toml", config);
    let broker = home.serve("data", &["--config", &config]);
    for topic in ["victim", "keep", "filler"] {
        home.ok(&["topic", "create", topic]);
    }
    let lines: String = (0..400).map(|n| format!("of the victim {n}\n")).collect();
    home.weir_with_input(&["produce", "victim"], lines.as_bytes())
        .expect(0);
    let lines = format!("{}\n", "k".repeat(1000)).repeat(500);
    home.weir_with_input(&["produce", "keep"], lines.as_bytes())
        .expect(0);
    let segments = || std::fs::read_dir(home.path("data/log/segments"));
    let has_segment = || segments().is_ok_and(|mut files| files.next().is_some());
    fill_until(&home, "filler", "segment", has_segment);
    home.ok(&["topic", "delete", "victim", "--yes"]);
    let before = catalog(&home);
    fill_until(&home, "filler", "checkpoint", || catalog(&home) > before);
    drop(broker);

    let found = &home.json(&["log", "inspect", "data"])[0];
    let runs = found["segments"].as_array().unwrap().iter();
    let mut runs = runs.flat_map(|segment| segment["runs"].as_array().unwrap());
    assert!(
        runs.any(|run| run["topic_id"] == 1),
        "it is what this is about: {found}"
    );
    let done = home.weir(&["log", "rescue", "data", "--out", "out"]);
    let done = done.expect(0);
    let rescued = std::fs::read_to_string(home.path("out")).unwrap();
    assert!(!rescued.contains("of the victim"), "{done:?}");
    assert!(rescued.contains("kkkk"));
    let gone = ["log", "rescue", "data", "--out", "gone", "--topic"];
    home.weir(&[&gone[..], &["unknown/topic-1"]].concat())
        .fails(1, "was deleted, and its records with it");
}

/// What names topics may be damaged in the WAL as well as in a checkpoint.
#[test]
fn topics_of_damaged_blocks_are_not_denied() {
    let home = Home::new();
    let broker = home.serve("data", &[]);
    let data = home.path("data");
    let data = data.to_str().unwrap();
    home.ok(&["topic", "create", "old"]);
    let read = |path: PathBuf| (std::fs::read(&path).unwrap(), path);
    let before: Vec<_> = wal_files(data).into_iter().map(read).collect();
    home.ok(&["topic", "update", "old", "--partitions", "3"]);
    let mut changed = before.into_iter().filter_map(|(before, path)| {
        let after = std::fs::read(&path).unwrap();
        let at = before
            .iter()
            .zip(&after)
            .position(|(one, other)| one != other)?;
        Some((path, at))
    });
    let changed = changed.next().unwrap();
    home.ok(&["topic", "create", "fresh-topic"]);
    home.weir_with_input(&["produce", "fresh-topic"], b"of the fresh one\n")
        .expect(0);
    home.weir_with_input(&["produce", "old", "--partition", "2"], b"of the new one\n")
        .expect(0);
    drop(broker);
    let rescue = ["log", "rescue", data, "--out"];
    let rescue = |out: &str, more: &[&str]| home.weir(&[&rescue[..], &[out], more].concat());
    let none = |more: &[&str], expected: &str| {
        rescue("none", more).fails(1, expected);
        assert!(!home.path("none").exists() && !home.path("none.incomplete").exists());
    };
    let fresh = ["--topic", "fresh-topic"];
    let added = ["--topic", "old", "--partition", "2"];
    let never = ["--topic", "old", "--partition", "9"];
    for wanted in [&fresh[..], &added] {
        rescue("sound", wanted).expect(0);
        std::fs::remove_file(home.path("sound")).unwrap();
    }
    none(&never, "topic \"old\" has no partition 9; it has 3");
    none(&["--topic", "unknown/anything"], "is not in this log");
    none(&["--topic", "unknown/topic-77"], "nothing of topic");

    let (path, at) = find(data, b"fresh-topic");
    flip(&path, at);
    flip(&changed.0, changed.1);
    let done = rescue("none", &fresh).expect(1);
    assert!(
        done.stderr.contains("\"fresh-topic\" among them"),
        "{done:?}"
    );
    assert!(done.stderr.contains("damaged: "), "{done:?}");
    let nameless = ["--topic", "unknown/topic-2"];
    for (out, wanted, value) in [
        ("nameless", &nameless[..], "of the fresh one"),
        ("added", &added, "of the new one"),
    ] {
        rescue(out, wanted).expect(1);
        let rescued = std::fs::read_to_string(home.path(out)).unwrap();
        assert!(rescued.contains(value), "{out}: {rescued}");
    }
    none(
        &never,
        "nothing of partition 9 of topic \"old\" can be found",
    );
}

#[test]
fn what_is_behind_a_truncation_within_a_batch_is_rescued() {
    let home = Home::new();
    let broker = home.serve("data", &[]);
    home.ok(&["topic", "create", "numbers"]);
    let numbers: String = (0..1000).map(|number| format!("{number}\n")).collect();
    home.weir_with_input(&["produce", "numbers"], numbers.as_bytes())
        .expect(0);
    home.ok(&["topic", "truncate", "numbers", "--before", "600", "--yes"]);
    let served = home.ok(&["consume", "numbers", "--until-end", "--output", "json"]);
    drop(broker);
    let report = &home.json(&["log", "rescue", "data", "--out", "out"])[0];
    assert_eq!(report["records"], 400);
    let rescued = std::fs::read_to_string(home.path("out")).unwrap();
    assert_eq!(rescued, served);
}

/// Topics whose records are all in a file that is gone, are missed by name.
#[test]
fn the_missing_end_of_a_log_is_no_sound_log() {
    let home = Home::new();
    let data = filled(&home);
    // The next start states how far the log went.
    drop(home.serve("data", &[]));
    let (path, _) = find(&data, b"first order");
    let whole = std::fs::read(&path).unwrap();
    for (out, keep) in [("cut", Some(4096)), ("header", Some(10)), ("gone", None)] {
        match keep {
            Some(bytes) => std::fs::write(&path, &whole[..bytes]).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        home.weir(&["log", "verify", &data]).expect(1);
        let done = home.weir(&["log", "rescue", &data, "--out", out]).expect(1);
        assert!(
            done.stdout.contains("perhaps lost: topics and partitions"),
            "{out}: {done:?}"
        );
        assert!(
            done.stderr.contains("nothing is known of"),
            "{out}: {done:?}"
        );
    }
}

/// What a rescue that was ended leaves behind does not look like all of it.
#[test]
fn a_rescue_that_is_interrupted_says_so() {
    let home = Home::new();
    let data = filled(&home);
    // The node's file is opened for the topics first, and for the records once the output is
    // there: a pipe each time, and nobody ever opens the other end of the second.
    let node = format!("{data}/log/NODE");
    let text = std::fs::read(&node).unwrap();
    let second = format!("{data}/second");
    for pipe in [&node, &second] {
        std::fs::remove_file(pipe).ok();
        assert!(Command::new("mkfifo").arg(pipe).status().unwrap().success());
    }
    let rescue = ["log", "rescue", &data, "--out", "out.ndjson"];
    let child = home.command(&rescue).spawn().unwrap();
    let first = std::fs::File::options().write(true).open(&node).unwrap();
    std::fs::rename(&second, &node).unwrap();
    drop(first);
    let begun = Instant::now();
    while !home.path("out.ndjson.incomplete").exists() {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "nothing is written"
        );
        std::thread::yield_now();
    }
    let pid = child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &pid]).status().unwrap();
    assert!(sent.success());
    let done = Done::from(child.wait_with_output().unwrap());
    done.fails(
        130,
        "out.ndjson.incomplete holds a part of the records only",
    );
    assert!(!home.path("out.ndjson").exists());
    assert!(home.path("out.ndjson.incomplete").exists());
    std::fs::remove_file(&node).unwrap();
    std::fs::write(&node, text).unwrap();
    home.weir(&rescue)
        .fails(1, "is left from a rescue that did not come to its end");
    std::fs::remove_file(home.path("out.ndjson.incomplete")).unwrap();
    home.ok(&rescue);
    assert!(home.path("out.ndjson").exists());
    assert!(!home.path("out.ndjson.incomplete").exists());
}

/// Records that were rescued or consumed go back into a topic as they were.
#[test]
fn rescued_records_go_back_as_they_were() {
    let home = Home::new();
    let broker = home.serve("data", &[]);
    home.ok(&["topic", "create", "orders"]);
    let records = concat!(
        r#"{"key":"k","headers":{"tag":"blue","trace":["a",{"base64":"/w=="}]},"#,
        r#""timestamp":"2013-01-02T03:04:05.678Z","value":"two\nlines"}"#,
        "\n",
        r#"{"key_base64":"/wA=","value_base64":"AP8KAQ=="}"#,
        "\n",
        r#"{"key":"gone","value":null}"#,
        "\n",
        r#"{"value":"plain"}"#,
        "\n",
    );
    let produce = ["produce", "orders", "--format", "record"];
    home.weir_with_input(&produce, records.as_bytes()).expect(0);
    let all = |topic: &str| -> Vec<Value> {
        let mut records = home.json(&["consume", topic, "--until-end"]);
        for record in &mut records {
            for field in ["topic", "time"] {
                record.as_object_mut().unwrap().remove(field);
            }
        }
        records
    };
    let before = all("orders");
    assert_eq!(before.len(), 4);
    assert_eq!(before[0]["timestamp"], "2013-01-02T03:04:05.678Z");
    assert_eq!(before[0]["headers"]["trace"][1]["base64"], "/w==");
    assert_eq!(
        (&before[0]["tag"], &before[0]["value"]),
        (&"blue".into(), &"two\nlines".into())
    );
    assert_eq!(before[1]["key_base64"], "/wA=");
    assert_eq!(before[1]["value_base64"], "AP8KAQ==");
    assert_eq!(
        (&before[2]["key"], &before[2]["value"]),
        (&"gone".into(), &Value::Null)
    );
    drop(broker);
    home.ok(&[
        "log",
        "rescue",
        "data",
        "--out",
        "orders.ndjson",
        "--topic",
        "orders",
    ]);

    let _broker = home.serve("new", &[]);
    home.ok(&["topic", "create", "orders"]);
    home.ok(&["topic", "create", "copy"]);
    home.ok(&["produce", "orders", "orders.ndjson", "--format", "record"]);
    assert_eq!(all("orders"), before);
    let consumed = home.ok(&["consume", "orders", "--until-end", "--output", "json"]);
    home.weir_with_input(
        &["produce", "copy", "--format", "record"],
        consumed.as_bytes(),
    )
    .expect(0);
    assert_eq!(all("copy"), before);
    // A record that has a tag keeps it, and that one alone.
    home.ok(&["topic", "create", "tagged"]);
    let tagged = ["produce", "tagged", "--format", "record", "--tag", "red"];
    home.weir_with_input(&tagged, records.as_bytes()).expect(0);
    let tags = all("tagged");
    let tags: Vec<_> = tags.iter().map(|it| it["headers"]["tag"].clone()).collect();
    assert_eq!(tags, ["blue", "red", "red", "red"]);
    home.weir_with_input(&produce, b"{\"a\":1}\n").expect(1);
}

#[test]
fn what_is_no_data_directory_is_told_apart() {
    let home = Home::new();
    let data = filled(&home);
    home.file("file", "x");
    std::fs::create_dir(home.path("empty")).unwrap();
    let log = format!("{data}/log");
    for (dir, expected) in [
        ("nowhere", "cannot read nowhere"),
        ("file", "is no directory"),
        ("empty", "is no data directory of weir"),
        (&log, "give the data directory around it"),
    ] {
        home.weir(&["log", "inspect", dir]).fails(1, expected);
        home.weir(&["log", "verify", dir]).fails(1, expected);
        home.weir(&["log", "rescue", dir, "--out", "out"])
            .fails(1, expected);
    }
    home.weir(&["log", "rescue", &data, "--out", "file"])
        .fails(1, "is not overwritten");
    let inside = format!("{data}/out");
    home.weir(&["log", "rescue", &data, "--out", &inside])
        .fails(2, "inside of the data directory");
    assert!(!home.path("out").exists());

    let node = format!("{log}/NODE");
    let text = std::fs::read_to_string(&node).unwrap();
    let (magic, _) = text.split_once(' ').unwrap();
    std::fs::write(&node, format!("{magic} 99 1\n")).unwrap();
    let done = home.weir(&["log", "verify", &data]).expect(1);
    assert!(done.stdout.contains("states log format 99"), "{done:?}");
}

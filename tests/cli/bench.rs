//! `weir bench`: that it measures what it says and prints the names of the contract. Its figures
//! are nobody's claim here: tests run beside each other.

use serde_json::Value;

use crate::home::Home;

fn named<'a>(objects: &'a [Value], name: &str) -> Vec<&'a Value> {
    objects
        .iter()
        .filter(|object| object["name"] == name)
        .collect()
}

#[track_caller]
fn is_positive(object: &Value, names: &[&str]) {
    for name in names {
        let figure = object[*name].as_f64();
        assert!(
            figure.is_some_and(|figure| figure > 0.0),
            "{name}: {object}"
        );
    }
}

#[test]
fn partitions_are_compared_with_one() {
    let home = Home::new();
    let command = [
        "bench",
        "partitions",
        "--embedded",
        ".",
        "--partitions",
        "8,3",
    ];
    let little = ["--bytes", "2MiB", "--batch", "100", "--rounds", "2"];
    let objects = home.json(&[&command[..], &little].concat());
    let partitions = named(&objects, "partitions");
    let counts: Vec<_> = partitions
        .iter()
        .map(|object| object["partitions"].as_u64())
        .collect();
    assert_eq!(counts, [Some(1), Some(3), Some(8)]);
    assert_eq!(partitions[0]["ratio_to_one"], 1.0);
    for object in partitions {
        is_positive(
            object,
            &[
                "mb_per_s",
                "records_per_s",
                "ratio_to_one",
                "quinn_mb_per_s",
            ],
        );
        is_positive(object, &["disk_mb_per_s", "fdatasync_us", "ratio_to_quinn"]);
        assert_eq!(
            (&object["batch"], &object["rounds"]),
            (&100.into(), &2.into())
        );
        assert_eq!(object["bytes"], 2 << 20);
    }
    let small = named(&objects, "partitions-small-batches");
    assert_eq!(small.len(), 3);
    assert_eq!(small[2]["batch"], 10);
    let left = std::fs::read_dir(home.path(".")).unwrap();
    let left = left.filter(|item| {
        let name = item.as_ref().unwrap().file_name();
        name.to_string_lossy().starts_with("weir-bench")
    });
    assert_eq!(left.count(), 0, "what was made is removed");
}

#[test]
fn more_than_fits_on_the_disk_is_refused() {
    let home = Home::new();
    home.weir(&["bench", "partitions", "--embedded", ".", "--bytes", "1PiB"])
        .fails(1, "smaller --bytes");
    home.weir(&["bench", "partitions", "--bytes", "10"])
        .fails(2, "less than one batch");
    home.weir(&["bench", "produce", "--single", "--steady"])
        .fails(2, "cannot be used with");
}

#[test]
fn records_one_by_one_in_batches_and_from_memory_warm_and_cold() {
    let home = Home::new();
    let broker = home.serve("data", &[]);
    let broker = ["--broker", broker.address()];
    let arguments = [
        "bench",
        "produce",
        "--single",
        "--seconds",
        "1",
        "--size",
        "100",
    ];
    let objects = home.json(&[&arguments[..], &broker].concat());
    assert_eq!(objects.len(), 1);
    assert_eq!(objects[0]["name"], "produce-single");
    is_positive(
        &objects[0],
        &["records_per_s", "mb_per_s", "quinn_mb_per_s"],
    );

    let arguments = ["bench", "produce", "--seconds", "1"];
    let objects = home.json(&[&arguments[..], &broker].concat());
    assert_eq!(objects.len(), 1);
    assert_eq!(objects[0]["name"], "produce");
    is_positive(&objects[0], &["check_us_per_batch", "check_share"]);

    let arguments = ["bench", "consume", "--seconds", "1"];
    let objects = home.json(&[&arguments[..], &broker].concat());
    let from: Vec<_> = objects.iter().map(|object| &object["from"]).collect();
    assert_eq!(from, ["memory", "warm", "cold"]);
    for object in &objects {
        is_positive(object, &["mb_per_s", "ratio_to_quinn"]);
    }
    assert!(
        home.json(&["topic", "list"]).is_empty(),
        "its topics are removed"
    );
}

#[test]
fn the_tail_is_measured_beside_readers() {
    let home = Home::new();
    let arguments = ["bench", "latency", "--embedded", ".", "--seconds", "1"];
    let objects = home.json(&[&arguments[..], &["--readers", "2"]].concat());
    let tail = named(&objects, "latency-end-to-end");
    let [tail] = tail.as_slice() else {
        panic!("{objects:?}");
    };
    assert_eq!(tail["readers"], 2);
    is_positive(
        tail,
        &[
            "received",
            "p50_us",
            "p99_us",
            "p999_us",
            "readers_mb_per_s",
        ],
    );
    let disk = named(&objects, "latency-disk-alone");
    let [disk] = disk.as_slice() else {
        panic!("{objects:?}");
    };
    is_positive(disk, &["p50_us", "p99_us", "p999_us"]);
    home.weir(&["bench", "latency", "--readers", "1001"])
        .fails(2, "1001");
}

#[test]
fn sample_plugins_of_every_kind_stand_beside_native_code() {
    let home = Home::new();
    let arguments = ["bench", "plugin", "--size", "100", "--batch", "50,1"];
    let objects = home.json(&arguments);
    let kinds: Vec<_> = objects
        .iter()
        .map(|object| (object["name"].as_str().unwrap(), &object["batch"]))
        .collect();
    let expected = [
        "plugin-tag-filter",
        "plugin-record-key",
        "plugin-hash-route",
        "plugin-upper-case",
        "plugin-json-filter",
    ];
    let expected: Vec<_> = expected
        .iter()
        .flat_map(|name| [(*name, 50.into()), (*name, 1.into())])
        .collect();
    assert!(
        kinds
            .iter()
            .map(|(name, batch)| (*name, (*batch).clone()))
            .eq(expected),
        "{kinds:?}"
    );
    for object in &objects {
        is_positive(
            object,
            &[
                "ns_per_record",
                "native_ns_per_record",
                "single_ns_per_record",
                "ratio_to_native",
                "single_ratio_to_native",
            ],
        );
    }
}

#[test]
fn a_filtered_topic_is_read_beside_an_unfiltered_one() {
    let home = Home::new();
    let broker = home.serve("data", &[]);
    let broker = ["--broker", broker.address()];
    let arguments = ["bench", "consume", "--filter", "--seconds", "1"];
    let objects = home.json(&[&arguments[..], &broker].concat());
    let filtered = named(&objects, "consume-filtered");
    let kinds: Vec<_> = filtered
        .iter()
        .map(|object| {
            let verdicts = object["verdicts"].as_str().unwrap();
            (object["keeps_percent"].as_u64().unwrap(), verdicts)
        })
        .collect();
    let expected = [100, 50, 1].map(|percent| [(percent, "new"), (percent, "remembered")]);
    assert_eq!(kinds, expected.concat());
    for object in filtered {
        is_positive(object, &["records_per_s", "ratio_to_unfiltered"]);
    }
    assert_eq!(named(&objects, "consume-unfiltered").len(), 1);
    assert!(
        home.json(&["topic", "list"]).is_empty(),
        "its topic is gone"
    );
    assert!(home.json(&["plugin", "list"]).is_empty(), "and its plugin");
}

#[test]
fn hostile_plugins_are_let_loose_on_a_broker_of_their_own() {
    let home = Home::new();
    home.weir(&["bench", "isolation"]).fails(2, "--embedded");
    let objects = home.json(&["bench", "isolation", "--embedded", ".", "--rounds", "1"]);
    let names: Vec<_> = objects.iter().map(|object| &object["hostile"]).collect();
    let expected = [
        "filter-loops",
        "filter-eats-memory",
        "filter-floods-log",
        "key-loops",
    ];
    assert_eq!(names, expected);
    for object in &objects {
        is_positive(
            object,
            &["alone_p99_us", "p99_us", "ratio_to_alone", "cores"],
        );
        assert_eq!(object["rounds"], 1);
    }
}

//! What the command line says and does when something is in its way.

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::process::{Child, ChildStderr, Stdio};
use std::time::{Duration, Instant};

use crate::broker::interrupt;
use crate::home::{Done, Home, sources};

fn push(home: &Home, component: &str) {
    let file = sources().join(format!("plugins/prebuilt/{component}.wasm"));
    let (_, name) = component.rsplit_once('/').unwrap_or(("", component));
    home.ok(&["plugin", "push", file.to_str().unwrap(), "--name", name]);
}

fn lines_of(child: &mut Child) -> Lines<BufReader<ChildStderr>> {
    BufReader::new(child.stderr.take().unwrap()).lines()
}

/// The next line of standard error that holds `text`.
#[track_caller]
fn wait_for(lines: &mut Lines<BufReader<ChildStderr>>, text: &str) {
    let mut lines = lines.map_while(Result::ok);
    assert!(
        lines.any(|line| line.contains(text)),
        "nobody says {text:?}"
    );
}

#[test]
fn a_refused_request_names_its_line_and_what_is_to_be_sent_again() {
    let home = Home::new();
    let _broker = home.serve("data", &[]);
    home.ok(&["topic", "create", "inbox"]);
    push(&home, "json-key");
    let bind = ["plugin", "bind", "json-key", "--topic", "inbox"];
    home.ok(&[&bind[..], &["--hook", "key", "--config", "field=n"]].concat());
    let line = |n: u32| format!("{{\"n\":{n},\"text\":\"so that there are several batches\"}}\n");
    let good: Vec<String> = (1..=100_000).map(line).collect();
    let mut bad = good.clone();
    bad[59_999] = "no JSON\n".to_owned();
    let file = home.file("input", bad.concat());
    let done = home.weir(&["produce", "inbox", &file]).expect(1);
    assert!(done.stderr.contains("error: line 60000: "), "{done:?}");
    assert!(!done.stderr.contains("of the batch"), "{done:?}");
    assert!(!done.stdout.contains("of the batch"), "{done:?}");
    assert!(done.stdout.contains("because of line 60000"), "{done:?}");

    home.file("input", good.concat());
    let mut commands = 0;
    for line in done.stderr.lines() {
        if let Some((_, command)) = line.split_once(": weir ") {
            commands += 1;
            home.ok(&command.split(' ').collect::<Vec<_>>());
        }
    }
    assert!(commands > 0, "{done:?}");
    let stored = home.ok(&["consume", "inbox", "--until-end"]);
    let mut stored: Vec<&str> = stored.lines().collect();
    let mut expected: Vec<&str> = good.iter().map(|line| line.trim_end()).collect();
    stored.sort_unstable();
    expected.sort_unstable();
    assert!(stored == expected, "every line is stored once: {done:?}");
}

#[test]
fn clients_that_fail_leave_no_connection_behind() {
    let home = Home::new();
    let broker = home.serve("data", &[]);
    for _ in 0..5 {
        home.weir(&["topic", "describe", "nope"])
            .fails(1, "does not exist");
    }
    home.ok(&["topic", "create", "t"]);
    home.weir_with_input(&["produce", "t"], b"first\n")
        .expect(0);
    let mut child = home.command(&["consume", "t"]).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    interrupt(child.id());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    // The broker hears of the end a moment later. One that was not closed it keeps for ten seconds.
    let left = Instant::now();
    loop {
        let status = &home.json(&["status"])[0];
        // The one that asks.
        if status["connections"] == 1 {
            break;
        }
        assert!(left.elapsed() < Duration::from_secs(7), "{status}");
    }
    broker.stop();
}

#[test]
fn a_plugin_that_loops_ends_with_ctrl_c_and_by_itself() {
    let home = Home::new();
    let plugin = sources().join("plugins/prebuilt/hostile/loops.wasm");
    let test = [
        "plugin",
        "test",
        plugin.to_str().unwrap(),
        "--hook",
        "filter",
        "--input",
    ];
    let lines = home.file("lines", "x\n".repeat(100_000));
    let mut child = home
        .command(&[&test[..], &[&lines, "-v"]].concat())
        .spawn()
        .unwrap();
    wait_for(&mut lines_of(&mut child), "records go to the plugin");
    interrupt(child.id());
    assert_eq!(child.wait().unwrap().code(), Some(130));

    let done = home.weir(&[&test[..], &[&lines]].concat()).expect(1);
    assert!(
        done.stderr.contains("stopped after 1,000 records"),
        "{done:?}"
    );
}

#[test]
fn clients_say_that_the_broker_is_away_and_back() {
    let home = Home::new();
    let broker = home.serve("data", &[]);
    let address = broker.address().trim_start_matches("weir://").to_owned();
    home.ok(&["topic", "create", "t"]);
    let mut consumer = home.command(&["consume", "t"]).spawn().unwrap();
    let mut producer = home
        .command(&["produce", "t"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = producer.stdin.take().unwrap();
    stdin.write_all(b"first\n").unwrap();
    let mut values = BufReader::new(consumer.stdout.take().unwrap()).lines();
    assert_eq!(values.next().unwrap().unwrap(), "first");
    let (mut consumed, mut produced) = (lines_of(&mut consumer), lines_of(&mut producer));

    broker.stop();
    stdin.write_all(b"second\n").unwrap();
    wait_for(&mut consumed, "the broker is away");
    wait_for(&mut produced, "the broker is away");
    let broker = home.serve_at(&address, "data", &[]);
    wait_for(&mut consumed, "the broker is back");
    wait_for(&mut produced, "the broker is back");
    assert_eq!(values.next().unwrap().unwrap(), "second");

    // The first Ctrl-C waits for what was sent, the second one for nothing.
    broker.stop();
    stdin.write_all(b"third\n").unwrap();
    wait_for(&mut produced, "the broker is away");
    interrupt(producer.id());
    wait_for(&mut produced, "Ctrl-C again ends at once");
    interrupt(producer.id());
    assert_eq!(producer.wait().unwrap().code(), Some(130));
    interrupt(consumer.id());
    assert_eq!(consumer.wait().unwrap().code(), Some(130));
}

#[test]
fn batches_are_as_large_as_a_small_log_takes() {
    let home = Home::new();
    let config = home.file("weir.toml", "[log]\nwal_file_bytes = \"1MiB\"\n");
    let _broker = home.serve("data", &["--config", &config]);
    home.ok(&["topic", "create", "t", "--partitions", "4"]);
    let lines: String = (0..300_000).map(|n| format!("line {n}\n")).collect();
    let file = home.file("input", lines);
    home.ok(&["produce", "t", &file]);
    let stored = home.ok(&["consume", "t", "--until-end"]);
    assert_eq!(stored.lines().count(), 300_000);
    // No option makes a record smaller than the log takes.
    let large = home.file("large", format!("one\n{}\nthree\n", "x".repeat(600_000)));
    let done = home.weir(&["produce", "t", &large]).expect(1);
    assert!(
        done.stderr
            .contains("line 2 is too large for this broker's log"),
        "{done:?}"
    );
    assert!(!done.stderr.contains("--batch-bytes"), "{done:?}");
    assert!(
        done.stderr
            .contains("correct what was refused, then: weir produce t"),
        "{done:?}"
    );
}

#[test]
fn a_producer_names_the_topic_that_was_deleted() {
    for (again, expected) in [
        (false, "topic \"t\" was deleted\n"),
        (
            true,
            "topic \"t\" was deleted and made again; start once more",
        ),
    ] {
        producing_to_what_is_deleted(again, expected);
    }
}

fn producing_to_what_is_deleted(again: bool, expected: &str) {
    let home = Home::new();
    let _broker = home.serve("data", &[]);
    home.ok(&["topic", "create", "t"]);
    let mut child = home
        .command(&["produce", "t"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"first\n").unwrap();
    assert_eq!(home.ok(&["consume", "t", "--limit", "1"]), "first\n");
    home.ok(&["topic", "delete", "t", "--yes"]);
    if again {
        home.ok(&["topic", "create", "t"]);
    }
    // It may end before all of them are taken.
    for _ in 0..100 {
        if stdin.write_all("more\n".repeat(1000).as_bytes()).is_err() {
            break;
        }
    }
    drop(stdin);
    let done = Done::from(child.wait_with_output().unwrap());
    assert!(!done.stderr.contains("to go on"), "{done:?}");
    let done = done.expect(1);
    assert!(done.stderr.contains(expected), "{done:?}");
}

/// A line that is none is wrong in any topic.
#[test]
fn a_bad_line_is_told_also_where_the_topic_is_gone() {
    let home = Home::new();
    let _broker = home.serve("data", &[]);
    home.ok(&["topic", "create", "t"]);
    let mut child = home
        .command(&["produce", "t", "--format", "ndjson"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"{\"n\":1}\n").unwrap();
    home.ok(&["consume", "t", "--limit", "1"]);
    home.ok(&["topic", "delete", "t", "--yes"]);
    stdin.write_all(b"no JSON\n").unwrap();
    drop(stdin);
    let done = Done::from(child.wait_with_output().unwrap()).expect(1);
    assert!(done.stderr.contains("line 2: not JSON"), "{done:?}");
}

/// An address that is taken leaves no data directory behind.
#[test]
fn a_broker_that_cannot_listen_makes_nothing() {
    let home = Home::new();
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let udp_at = udp.local_addr().unwrap().to_string();
    let tcp_at = tcp.local_addr().unwrap().to_string();
    for more in [
        &["--listen", &udp_at][..],
        &["--listen", "127.0.0.1:0", "--metrics", &tcp_at],
    ] {
        home.weir(&[&["serve", "--data", "data"][..], more].concat())
            .fails(1, "Address already in use");
        assert!(!home.path("data").exists(), "{more:?}");
    }
    // Whose directory it is counts more than the address.
    let broker = home.serve("data", &[]);
    let address = broker.address().trim_start_matches("weir://").to_owned();
    home.weir(&["serve", "--data", "data", "--listen", &address])
        .fails(1, "is in use by another broker");
}

/// What becomes of records is told whether or not anybody reads the counts.
#[test]
fn a_closed_output_hides_no_failure() {
    let home = Home::new();
    let _broker = home.serve("data", &[]);
    home.ok(&["topic", "create", "t"]);
    push(&home, "json-key");
    let bind = [
        "plugin", "bind", "json-key", "--topic", "t", "--hook", "key",
    ];
    home.ok(&[&bind[..], &["--config", "field=n"]].concat());
    let file = home.file("input", "no JSON\n");
    home.weir_unread(&["produce", "t", &file])
        .fails(1, "line 1: ");
    let list = home.weir_unread(&["topic", "list"]);
    assert_eq!((list.code, list.stderr.as_str()), (Some(0), ""));
}

#[test]
fn a_consumer_names_the_topic_that_was_deleted() {
    let home = Home::new();
    let _broker = home.serve("data", &[]);
    home.ok(&["topic", "create", "one"]);
    home.ok(&["topic", "create", "two"]);
    home.weir_with_input(&["produce", "two"], b"first\n")
        .expect(0);
    let mut child = home.command(&["consume", "one", "two"]).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    home.ok(&["topic", "delete", "two", "--yes"]);
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    let done = Done::from(child.wait_with_output().unwrap());
    done.fails(1, "topic \"two\" was deleted");
}

#[test]
fn only_some_lines_are_sent() {
    let home = Home::new();
    let _broker = home.serve("data", &[]);
    home.ok(&["topic", "create", "t"]);
    let file = home.file("input", "one\ntwo\nthree\nfour\n");
    home.ok(&["produce", "t", &file, "--skip", "1", "--limit", "2"]);
    assert_eq!(home.ok(&["consume", "t", "--until-end"]), "two\nthree\n");
    let bad = home.file("bad.ndjson", "no JSON\n");
    let done = home.weir(&["produce", "t", &bad]).expect(1);
    assert!(
        done.stderr.contains("line 1: not JSON: a value is"),
        "{done:?}"
    );
    assert!(!done.stderr.contains("--skip"), "nothing is done: {done:?}");
}

#[test]
fn produce_says_that_a_binding_rests() {
    let home = Home::new();
    let _broker = home.serve("data", &[]);
    home.ok(&["topic", "create", "t"]);
    push(&home, "hostile/keys-loop");
    let bind = [
        "plugin",
        "bind",
        "keys-loop",
        "--topic",
        "t",
        "--hook",
        "key",
    ];
    home.ok(&bind);
    let file = home.file("lines", "x\n".repeat(20));
    // Each time it rests for longer: one, two, four seconds.
    for _ in 0..3 {
        home.weir(&["produce", "t", &file]).expect(1);
    }
    let mut child = home.command(&["produce", "t", &file]).spawn().unwrap();
    let mut lines = lines_of(&mut child).map_while(Result::ok);
    let told = lines.find(|line| line.contains("takes no records for now"));
    assert!(told.unwrap().contains("quarantined"));
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

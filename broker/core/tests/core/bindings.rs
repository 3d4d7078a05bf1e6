//! Chains of bindings, their history, and going back in it.

use std::fmt::Write;

use expect_test::{Expect, expect};
use weir_core::shard::{ChangeRequest, Shard};
use weir_wire::id::{Offset, PartitionId, Timestamp, TopicId, TopicPartition};
use weir_wire::limits::{BINDINGS_MAX, HISTORY_BYTES_MAX, HISTORY_EVENTS_MAX};

use crate::changes;
use crate::support::{change, plugin, request, topic};

/// Runs changes, and `back PLUGIN TOPIC`, line by line; answers every line that was refused.
fn run(shard: &mut Shard, script: &str) -> String {
    let mut refused = String::new();
    for (line, time) in script.lines().map(str::trim).zip(1..) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let wanted = match words.as_slice() {
            [] => continue,
            ["back", plugin_name, name, hook @ ..] => {
                let hook = hook.first().map(|word| word.parse().unwrap());
                let back = shard.rollback(&plugin(plugin_name), &topic(name), hook);
                back.map(ChangeRequest::Bind)
            }
            _ => Ok(request(line)),
        };
        let done = wanted.and_then(|wanted| change(shard, Timestamp::new(time), &wanted));
        if let Err(error) = done {
            writeln!(refused, "{line}: {error}").unwrap();
        }
    }
    refused
}

/// The chains of a topic, then its history.
fn told(shard: &Shard, name: &str) -> String {
    let topic = shard.existing_topic(&topic(name)).unwrap();
    let mut out = String::new();
    for (hook, chain) in &topic.bindings {
        let chain = chain.iter().map(|bound| {
            let (id, plugin, version) = (bound.id, &bound.plugin, bound.version.short());
            format!(" {id}:{plugin}@{}", &version[..2])
        });
        writeln!(out, "{hook}:{}", chain.collect::<String>()).unwrap();
    }
    for event in topic.history.events() {
        let (time, epoch, action) = (event.time, event.epoch, event.action);
        let (id, place) = (event.bound.id, event.bound.position.unwrap());
        let replaced = event.replaced.as_ref();
        let replaced = replaced.map(|bound| format!(" instead of {}", bound.id));
        let ends = event.ends.iter().map(|at| {
            let ends: Vec<_> = at.ends.iter().map(ToString::to_string).collect();
            format!(" {}:[{}]", at.topic, ends.join(" "))
        });
        writeln!(
            out,
            "{time} epoch {epoch}: {action} {id} at {place}{}{}",
            replaced.unwrap_or_default(),
            ends.collect::<String>()
        )
        .unwrap();
    }
    out
}

fn check(script: &str, expected: &Expect) -> Shard {
    let mut shard = Shard::default();
    let refused = run(&mut shard, script);
    expected.assert_eq(&(told(&shard, "a") + &refused));
    shard
}

const TOOLS: &str = "create a 1
    push one aa key transform
    push one bb key transform
    push two cc key transform route\n";

#[test]
fn a_chain_grows_at_its_end_or_where_it_is_told() {
    check(
        &(TOOLS.to_owned()
            + "bind a key one aa fail
               bind a key two cc fail
               bind a key two cc fail at=0
               bind a key one bb fail
               bind a key two cc fail
               bind a key two cc fail instead=2
               bind a key two cc fail instead=1
               bind a key two cc fail at=4
               bind a key two cc fail at=3
               bind a key two cc fail at=0 instead=3"),
        &expect![[r#"
            key: 3:two@cc 4:one@bb 5:two@cc 6:two@cc
            5 epoch 1: bound 1 at 0 1:[0]
            6 epoch 2: bound 2 at 1 1:[0]
            7 epoch 3: bound 3 at 0 1:[0]
            8 epoch 4: replaced 4 at 1 instead of 1 1:[0]
            10 epoch 5: replaced 5 at 2 instead of 2 1:[0]
            13 epoch 6: bound 6 at 3 1:[0]
            bind a key two cc fail: plugin "two" is bound to topic "a" at the hook key as bindings 3, 2; say which it replaces (--replace 3) or where it goes (--position 3)
            bind a key two cc fail instead=1: binding 1 is none of topic "a" at the hook key (see them: weir topic describe a)
            bind a key two cc fail at=4: the position of a new binding of topic "a" at the hook key is 0 to 3, not 4
            bind a key two cc fail at=0 instead=3: a binding takes a place of its own or that of another; leave out the position or what it replaces
        "#]],
    );
}

#[test]
fn a_chain_is_bounded() {
    let mut shard = Shard::default();
    let binds = "bind a key one aa fail at=0\n".repeat(BINDINGS_MAX + 1);
    let refused = run(&mut shard, &(TOOLS.to_owned() + &binds));
    expect![[r#"
        bind a key one aa fail at=0: a topic has at most 16 bindings at one hook; unbind one of topic "a" at the hook key first
    "#]].assert_eq(&refused);
    // What takes another's place needs no room.
    let last = shard.existing_topic(&topic("a")).unwrap();
    let last = last.bound().next().unwrap().1.id;
    let instead = format!("bind a key one bb fail instead={last}");
    assert_eq!(run(&mut shard, &instead), "");
}

#[test]
fn back_and_back_again() {
    check(
        &(TOOLS.to_owned()
            + "back one a
               bind a key one aa fail
               back one a
               bind a key one bb fail
               back one a
               back one a
               bind a transform one aa skip
               back one a
               back one a key
               bind a key one bb fail at=0
               back one a key
               back two a"),
        &expect![[r#"
            transform: 5:one@aa
            key: 7:one@bb 6:one@aa
            6 epoch 1: bound 1 at 0 1:[0]
            8 epoch 2: replaced 2 at 0 instead of 1 1:[0]
            9 epoch 3: rolled-back 3 at 0 instead of 2 1:[0]
            10 epoch 4: rolled-back 4 at 0 instead of 3 1:[0]
            11 epoch 5: bound 5 at 0 1:[0]
            13 epoch 6: rolled-back 6 at 0 instead of 4 1:[0]
            14 epoch 7: bound 7 at 0 1:[0]
            back one a: plugin "one" is not bound to topic "a" (see what was: weir plugin history --topic a)
            back one a: binding 1 of plugin "one" on topic "a" has no earlier version to go back to (see what was: weir plugin history --topic a)
            back one a: plugin "one" is bound to topic "a" at the hooks transform and key; say which (--hook transform)
            back one a key: plugin "one" is bound to topic "a" several times, as bindings 7, 6; bind the version you want in the place of one (--replace 7)
            back two a: plugin "two" is not bound to topic "a" (see what was: weir plugin history --topic a)
        "#]],
    );
}

#[test]
fn what_cannot_come_back_says_why() {
    check(
        &(TOOLS.to_owned()
            + "create b 1
               bind a route two cc fail x=b
               bind a route two cc fail x=a
               delete b
               back two a
               bind a key one aa fail
               bind a key one bb fail
               remove one aa
               back one a"),
        &expect![[r#"
            route: 2:two@cc
            key: 4:one@bb
            6 epoch 1: bound 1 at 0 1:[0] 2:[0]
            7 epoch 2: replaced 2 at 0 instead of 1 1:[0] 2:[0]
            10 epoch 3: bound 3 at 0 1:[0]
            11 epoch 4: replaced 4 at 0 instead of 3 1:[0]
            back two a: the topic that route "x" led to was deleted; bind with routes that lead somewhere
            back one a: no version of plugin "one" begins with "aa00000000000000000000000000000000000000000000000000000000000000" (see them: weir plugin show one)
        "#]],
    );
}

#[test]
fn the_history_tells_of_the_dead_letter_topic_that_a_bind_makes() {
    check(
        &(TOOLS.to_owned()
            + "bind a key one aa dead-letter
               bind a key two cc dead-letter
               unbind 1"),
        &expect![[r#"
            key: 2:two@cc
            5 epoch 1: bound 1 at 0 1:[0] 2:[0]
            6 epoch 2: bound 2 at 1 1:[0] 2:[0]
            7 epoch 3: unbound 1 at 0 1:[0] 2:[0]
        "#]],
    );
}

#[test]
fn a_dead_letter_topic_is_made_once_and_stays_while_it_is_used() {
    changes::check(
        ".create a 1
         .push one aa key transform
         .push one bb key transform
         bind a key one aa dead-letter
         bind a transform one aa dead-letter
         delete a.dlq
         .bind a key one bb fail
         delete a.dlq
         update a.dlq partitions=2
         .unbind 2
         delete a.dlq
         create a.dlq 7
         bind a key one aa dead-letter",
        &expect![[r#"
            bind a key one aa dead-letter: binding 1, epoch 1, dead letters to topic 2
            bind a transform one aa dead-letter: binding 2, epoch 2, dead letters to topic 2
            delete a.dlq: topic "a.dlq" is where binding 2 of topic "a" leads; unbind that first (weir plugin unbind 2)
            delete a.dlq: topic "a.dlq" is where binding 2 of topic "a" leads; unbind that first (weir plugin unbind 2)
            update a.dlq partitions=2: topic 2 with 2 partitions, topic 1 epoch 4, topic 2 epoch 1
            delete a.dlq: topic 2 gone
            create a.dlq 7: topic 3 at 7
            bind a key one aa dead-letter: binding 4, epoch 6, instead of 3, dead letters to topic 3
        "#]],
    );
    let long = "x".repeat(246);
    let script = format!(
        "create {long} 1
         push one aa key
         bind {long} key one aa dead-letter"
    );
    let refused = run(&mut Shard::default(), &script);
    assert!(
        refused.contains("cannot have a dead-letter topic"),
        "{refused}"
    );
}

#[test]
fn an_event_says_where_partitions_ended_that_records_may_go_to() {
    let mut shard = Shard::default();
    let script = TOOLS.to_owned() + "create b 2\ncreate c 1\ncreate d 1";
    assert_eq!(run(&mut shard, &script), "");
    let take = |shard: &mut Shard, topic: u64, partition: u32, count: u32| {
        let at = TopicPartition {
            topic: TopicId::new(topic),
            partition: PartitionId::new(partition),
        };
        let base = shard.end(at);
        shard.replay_append(at, base, count, Timestamp::new(0));
        assert_eq!(shard.end(at), Offset::new(base.value() + u64::from(count)));
    };
    take(&mut shard, 1, 0, 7);
    take(&mut shard, 2, 1, 5);
    assert_eq!(run(&mut shard, "bind a route two cc fail x=b y=b"), "");
    take(&mut shard, 3, 0, 2);
    assert_eq!(run(&mut shard, "bind a route two cc fail x=c"), "");
    take(&mut shard, 2, 0, 9);
    assert_eq!(run(&mut shard, "unbind 2\nbind a key one aa fail"), "");
    expect![[r#"
        key: 3:one@aa
        1 epoch 1: bound 1 at 0 1:[7] 2:[0 5]
        1 epoch 2: replaced 2 at 0 instead of 1 1:[7] 2:[0 5] 3:[2]
        1 epoch 3: unbound 2 at 0 1:[7] 3:[2]
        2 epoch 4: bound 3 at 0 1:[7]
    "#]]
    .assert_eq(&told(&shard, "a"));
}

#[test]
fn an_entry_from_before_there_were_chains_replaces_the_whole_chain() {
    let mut shard = Shard::default();
    let script = TOOLS.to_owned() + "bind a key one aa fail\nbind a key two cc fail";
    assert_eq!(run(&mut shard, &script), "");
    let plan = shard.plan_change(Timestamp::new(0), &request("bind a key one bb fail at=0"));
    let mut old = plan.unwrap();
    let bound = old.bound.as_mut().unwrap();
    (bound.position, bound.ends) = (None, Vec::new());
    shard.commit_change(&old);
    expect![[r#"
        key: 3:one@bb
        5 epoch 1: bound 1 at 0 1:[0]
        6 epoch 2: bound 2 at 1 1:[0]
        0 epoch 3: replaced 3 at 0 instead of 2
    "#]]
    .assert_eq(&told(&shard, "a"));
    assert_eq!(run(&mut shard, "back one a"), "");
}

#[test]
fn a_history_forgets_its_oldest_events_within_its_bounds() {
    let mut shard = Shard::default();
    assert_eq!(run(&mut shard, TOOLS), "");
    let rebind = ["bind a key one aa fail", "bind a key one bb fail"];
    for count in 0..HISTORY_EVENTS_MAX + 10 {
        assert_eq!(run(&mut shard, rebind[count % 2]), "");
    }
    let events = |shard: &Shard| {
        let topic = shard.existing_topic(&topic("a")).unwrap();
        let events = topic.history.events();
        events
            .map(|event| event.bound.id.value())
            .collect::<Vec<_>>()
    };
    let all = events(&shard);
    assert_eq!((all.len(), all[0]), (HISTORY_EVENTS_MAX, 11));
    // A topic of many partitions lists many ends.
    let partitions = HISTORY_BYTES_MAX / 8 / 4;
    let more = format!("update a partitions={partitions}");
    assert_eq!(run(&mut shard, &more), "");
    for count in 0..5 {
        assert_eq!(run(&mut shard, rebind[count % 2]), "");
    }
    let few = events(&shard);
    assert_eq!(
        few,
        [
            all.len() as u64 + 13,
            all.len() as u64 + 14,
            all.len() as u64 + 15
        ]
    );
}

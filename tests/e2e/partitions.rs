//! Partitions are added while producers send, and while requests are sent again because their
//! replies got lost: every record is stored once, and the records of a key keep their order up to
//! each fence and from there on.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures_util::StreamExt;
use tokio::task::JoinHandle;
use weir_harness::client::connect;
use weir_harness::process::Process;
use weir_harness::report::say;
use weir_sdk::wire::id::{Offset, PartitionId};
use weir_sdk::wire::placement::partition_of_key;
use weir_sdk::wire::request::{Fence, UpdateTopic};
use weir_sdk::{Admin, Client, Producer, PublishError, Record, RecordOutcome, Ticket};

use crate::setup;

const TOPIC: &str = "orders";
/// How many partitions there are, one number after the other.
const PARTITIONS: [u32; 8] = [1, 2, 3, 5, 6, 9, 12, 16];
const PRODUCERS: u32 = 3;
/// Keys of each producer.
const KEYS: u32 = 12;
/// Records that each producer sends between two changes, at least.
const RECORDS: u32 = 400;

/// A record as its value says: its producer, and its number there.
type Id = (u32, u32);
/// Where a record is.
type Place = (PartitionId, Offset);

fn record((producer, number): Id) -> Record {
    let key = key((producer, number));
    Record::new(format!("{producer} {number}")).key(key)
}

fn key((producer, number): Id) -> String {
    // Neighbours share a batch and not a key.
    format!("{producer}-{}", number % KEYS)
}

fn id(value: &[u8]) -> Id {
    let text = std::str::from_utf8(value).unwrap();
    let (producer, number) = text.split_once(' ').unwrap();
    (producer.parse().unwrap(), number.parse().unwrap())
}

/// What a producer did.
struct Sent {
    tickets: Vec<(Id, Ticket)>,
    /// The last records that were sent before a change was seen.
    watched: Vec<JoinHandle<Watched>>,
    /// Requests that were sent again.
    resent: u64,
}

/// What became of a record that was on its way when a change was seen.
struct Watched {
    id: Id,
    outcome: Result<RecordOutcome, PublishError>,
    /// Whether requests from before the change were sent again behind it: all that have no answer
    /// are, the oldest first, and this record's was among them.
    again: bool,
}

async fn watch(producer: Arc<Producer>, (id, ticket): (Id, Ticket)) -> Watched {
    let before = producer.stats().resent;
    let outcome = ticket.await;
    Watched {
        id,
        outcome,
        again: producer.stats().resent > before,
    }
}

/// Sends until every change was made and some more was sent behind the last one.
async fn produce(
    client: Client,
    number: u32,
    sent: tokio::sync::watch::Sender<u32>,
    changes: tokio::sync::watch::Receiver<u32>,
) -> Sent {
    // Small requests, several in flight.
    let builder = client.producer(TOPIC).batch_bytes(2_000);
    let producer = Arc::new(builder.byte_budget(40_000).open().await.unwrap());
    let (mut tickets, mut watched) = (Vec::new(), Vec::new());
    let (mut next, mut known, mut left) = (0, 0, RECORDS);
    let all = PARTITIONS.len() as u32 - 1;
    while left > 0 {
        let id = (number, next);
        tickets.push((id, producer.send(record(id)).await.unwrap()));
        next += 1;
        sent.send_modify(|sent| *sent += 1);
        let made = *changes.borrow();
        if made != known {
            (known, left) = (made, RECORDS);
            let last = tickets.pop().unwrap();
            watched.push(tokio::spawn(watch(producer.clone(), last)));
        } else if known == all {
            left -= 1;
        } else if next % 64 == 0 {
            // Enough is in flight; the broker and whoever changes the topic have their turn.
            tokio::task::yield_now().await;
        }
    }
    producer.flush().await;
    Sent {
        tickets,
        watched,
        resent: producer.stats().resent,
    }
}

/// Adds partitions; a reply that got lost is asked for again, since twice is as good as once.
async fn add(admin: &Admin, partitions: u32) {
    let update = UpdateTopic {
        name: TOPIC.parse().unwrap(),
        retention_ms: None,
        retention_bytes: None,
        when_unread: None,
        compact: None,
        partitions: Some(partitions),
    };
    loop {
        match admin.update_topic(&update).await {
            Ok((topic, _)) => return assert_eq!(topic.partitions, partitions),
            Err(error) => assert!(error.is_retryable(), "{error}"),
        }
    }
}

/// Behind how many fences a place is.
fn generation(fences: &[Fence], (partition, offset): Place) -> usize {
    let behind = |fence: &&Fence| {
        let end = fence.ends.get(partition.value() as usize);
        end.is_none_or(|end| offset >= *end)
    };
    fences.iter().filter(behind).count()
}

/// Each key's records, in the order in which they were sent, are in the order of fences, and
/// between two fences in the one partition that their key has there, in the order of offsets.
fn check_order(stored: &BTreeMap<Id, Place>, fences: &[Fence]) -> usize {
    let mut last: HashMap<String, (usize, Offset)> = HashMap::new();
    let mut crossed = 0;
    for (id, place) in stored {
        let key = key(*id);
        let at = generation(fences, *place);
        let partition = partition_of_key(key.as_bytes(), PARTITIONS[at]);
        assert_eq!(place.0, partition, "record {id:?} behind {at} fences");
        if let Some(before) = last.insert(key, (at, place.1)) {
            assert!(
                before < (at, place.1),
                "record {id:?} overtook the one before it"
            );
            crossed += usize::from(before.0 < at);
        }
    }
    crossed
}

async fn drain(client: &Client, records: usize) -> BTreeMap<Id, Place> {
    let mut subscriber = client.subscribe([TOPIC]).open().await.unwrap();
    let mut found = BTreeMap::new();
    while found.len() < records || !subscriber.is_caught_up() {
        let record = subscriber.next().await.unwrap().unwrap();
        let id = id(&record.value.unwrap());
        let place = (record.partition, record.offset);
        let twice = found.insert(id, place);
        assert_eq!(
            twice, None,
            "record {id:?} is stored twice, at {place:?} too"
        );
    }
    found
}

/// Answers how many requests were sent again, and how many changes came in between.
async fn run(name: &str, switches: Vec<(&'static str, String)>) -> (u64, u32) {
    let mut process = tokio::task::block_in_place(|| Process::start(setup()));
    let client = connect(&process).await;
    client
        .admin()
        .create_topic(TOPIC, PARTITIONS[0])
        .await
        .unwrap();
    client.close().await;
    process.set_switches(switches);
    tokio::task::block_in_place(|| process.restart());

    let changes = tokio::sync::watch::Sender::new(0);
    let sent = tokio::sync::watch::Sender::new(0);
    let mut producers = Vec::new();
    for number in 0..PRODUCERS {
        let client = connect(&process).await;
        let (sent, changes) = (sent.clone(), changes.subscribe());
        producers.push(tokio::spawn(produce(client, number, sent, changes)));
    }
    let client = connect(&process).await;
    let mut progress = sent.subscribe();
    for partitions in PARTITIONS.into_iter().skip(1) {
        let enough = *progress.borrow() + PRODUCERS * RECORDS;
        progress.wait_for(|sent| *sent >= enough).await.unwrap();
        add(&client.admin(), partitions).await;
        changes.send_modify(|changes| *changes += 1);
    }
    let (mut acknowledged, mut resent, mut between) = (BTreeMap::new(), 0, 0);
    for producer in producers {
        let sent = producer.await.unwrap();
        resent += sent.resent;
        let mut outcomes = Vec::new();
        for (id, ticket) in sent.tickets {
            outcomes.push((id, ticket.await));
        }
        for watched in sent.watched {
            let Watched { id, outcome, again } = watched.await.unwrap();
            between += u32::from(again);
            outcomes.push((id, outcome));
        }
        for (id, outcome) in outcomes {
            let outcome = outcome.unwrap();
            let place = outcome.stored().unwrap().place();
            acknowledged.insert(id, (place.partition, place.offset));
        }
    }
    let found = drain(&client, acknowledged.len()).await;
    assert_eq!(
        found, acknowledged,
        "what was acknowledged is what is there"
    );
    let described = client.admin().describe_topic(TOPIC).await.unwrap();
    let numbers = described.fences.iter().map(|fence| fence.partitions);
    assert!(numbers.eq(PARTITIONS.into_iter().take(PARTITIONS.len() - 1)));
    let crossed = check_order(&found, &described.fences);
    say(&format!(
        "{name}: {} records, {resent} requests sent again, {between} changes between a send and \
         its retry, keys crossed a fence {crossed} times",
        found.len()
    ));
    assert!(crossed > 0, "no key had records before and behind a fence");
    (resent, between)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn added_under_load() {
    run("partitions added under load", Vec::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn added_between_a_send_and_its_retry() {
    // So many that hardly any change meets none of them.
    let lossy = vec![("WEIR_DROP_REPLIES", "0.4".to_owned())];
    let (resent, between) = run("partitions added while replies get lost", lossy).await;
    assert!(resent > 0, "no request was sent again");
    assert!(
        between > 0,
        "no partitions were added between a send and its retry"
    );
}

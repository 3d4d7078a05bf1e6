//! A broker with a bystander: a producer and a subscriber of another topic, which must not
//! notice what is done to the broker.

use std::path::PathBuf;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use weir_broker::StartOptions;
use weir_broker::config::{ByteSize, Config};
use weir_broker::testing::TestBroker;
use weir_sdk::{Client, Producer, Record, RecordOutcome, Subscriber};

/// Far more than anything here takes, far less than for ever.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// What nobody else names.
const BYSTANDER: &str = "bystanders/quiet-street";
/// Records of the bystander that must pass after each attack.
const PROGRESS: u64 = 3;

/// Held by every test, alone by those that measure the memory of this process.
static MEMORY: RwLock<()> = RwLock::const_new(());

/// A turn for a test without a stage, beside others of its kind.
pub async fn beside_others() -> RwLockReadGuard<'static, ()> {
    MEMORY.read().await
}

/// Waits for what must come.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}

pub struct Stage {
    pub broker: TestBroker,
    pub client: Client,
    bystander: Bystander,
    _memory: Memory,
}

#[expect(dead_code, reason = "guards are there to be dropped")]
enum Memory {
    Shared(RwLockReadGuard<'static, ()>),
    Alone(RwLockWriteGuard<'static, ()>),
}

struct Bystander {
    stop: watch::Sender<bool>,
    received: watch::Receiver<u64>,
    acked: watch::Receiver<u64>,
    producer: JoinHandle<u64>,
    subscriber: JoinHandle<()>,
}

impl Stage {
    pub async fn start() -> Self {
        Self::start_with(|_| ()).await
    }

    /// A broker whose configuration `change` has changed.
    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        Self::build(change, Memory::Shared(MEMORY.read().await)).await
    }

    /// The same, with no other stage beside it: what grows now grows because of this test.
    pub async fn alone_with(change: impl FnOnce(&mut Config)) -> Self {
        Self::build(change, Memory::Alone(MEMORY.write().await)).await
    }

    async fn build(change: impl FnOnce(&mut Config), memory: Memory) -> Self {
        let configure = |config: &mut Config| {
            config.log.wal_file_bytes = ByteSize::mib(16);
            config.plugins.compiler = Some(PathBuf::from(env!("CARGO_BIN_EXE_weir")));
            // On a busy machine the clock must not be what stops a plugin.
            config.plugins.wall_time = Duration::from_secs(60);
            change(config);
        };
        let broker = TestBroker::start_with(configure, StartOptions::default())
            .await
            .unwrap();
        let client = connect(&broker).await;
        client.admin().create_topic(BYSTANDER, 1).await.unwrap();
        let bystander = Bystander::start(&connect(&broker).await).await;
        Self {
            broker,
            client,
            bystander,
            _memory: memory,
        }
    }

    /// Makes a topic for the attack.
    pub async fn topic(&self, name: &str, partitions: u32) {
        let admin = self.client.admin();
        admin.create_topic(name, partitions).await.unwrap();
    }

    /// The broker lives, and the bystander goes on.
    pub async fn is_unharmed(&mut self) {
        let wanted = *self.bystander.acked.borrow() + PROGRESS;
        let reached = self.bystander.received.wait_for(|got| *got >= wanted);
        let reached = soon("the bystander's records", reached).await.map(|_| ());
        reached.expect("the bystander has failed, see above");
        soon("the status", self.client.admin().status())
            .await
            .unwrap();
    }

    /// Records of a topic, as the broker counts them.
    pub async fn records(&self, topic: &str) -> u64 {
        let described = self.client.admin().describe_topic(topic).await.unwrap();
        described.topic.records
    }

    /// Everything that a topic holds, by partition and offset.
    pub async fn values(&self, topic: &str) -> Vec<Vec<u8>> {
        let count = self.records(topic).await;
        let mut subscriber = self.client.subscribe([topic]).open().await.unwrap();
        let mut found = Vec::new();
        for _ in 0..count {
            let record = soon("a stored record", subscriber.next()).await;
            let record = record.unwrap().unwrap();
            let value = record.value.unwrap_or_default().to_vec();
            found.push((record.partition, record.offset, value));
        }
        found.sort_by_key(|(partition, offset, _)| (partition.value(), offset.value()));
        found.into_iter().map(|(_, _, value)| value).collect()
    }

    /// Nothing of the bystander's is lost or doubled; ends the broker.
    pub async fn end(mut self) {
        self.is_unharmed().await;
        let Bystander {
            stop,
            mut received,
            producer,
            subscriber,
            ..
        } = self.bystander;
        stop.send_replace(true);
        let total = soon("the bystander's end", producer).await.unwrap();
        let all = received.wait_for(|got| *got >= total);
        soon("the bystander's last records", all).await.unwrap();
        subscriber.abort();
        let described = self.client.admin().describe_topic(BYSTANDER).await.unwrap();
        assert_eq!(
            described.topic.records, total,
            "records stored, records sent"
        );
        self.client.close().await;
        soon("the broker's end", self.broker.shutdown()).await;
    }
}

pub async fn connect(broker: &TestBroker) -> Client {
    Client::builder(broker.address())
        .ca_file(broker.ca_file())
        .token(broker.token())
        .connect_timeout(PATIENCE)
        .connect()
        .await
        .unwrap()
}

impl Bystander {
    async fn start(client: &Client) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (to_acked, acked) = watch::channel(0);
        let (to_received, received) = watch::channel(0);
        let producer = client.producer(BYSTANDER).open().await.unwrap();
        let subscriber = client.subscribe([BYSTANDER]).open().await.unwrap();
        Self {
            stop,
            received,
            acked,
            producer: tokio::spawn(produce(producer, stopped, to_acked)),
            subscriber: tokio::spawn(subscribe(subscriber, to_received)),
        }
    }
}

/// Publishes its count, one record after another; answers how many were stored.
async fn produce(
    producer: Producer,
    stopped: watch::Receiver<bool>,
    acked: watch::Sender<u64>,
) -> u64 {
    let mut count = 0;
    while !*stopped.borrow() {
        let record = Record::new(format!("bystander {count}"));
        match producer.publish(record).await.unwrap() {
            RecordOutcome::Stored(stored) => assert_eq!(stored.offset().value(), count),
            other => panic!("the bystander's record {count} is not stored: {other:?}"),
        }
        count += 1;
        acked.send_replace(count);
    }
    producer.close().await.unwrap();
    count
}

/// Expects that count, without a gap and without a repetition.
async fn subscribe(mut subscriber: Subscriber, received: watch::Sender<u64>) {
    let mut count = 0;
    while let Some(record) = subscriber.next().await {
        let record = record.unwrap();
        assert_eq!(record.offset.value(), count);
        assert_eq!(record.value.unwrap(), format!("bystander {count}"));
        count += 1;
        received.send_replace(count);
    }
    panic!("the bystander's subscription ended");
}

/// Resident memory of this process, in bytes.
pub fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// Waits until the broker's status fits.
pub async fn until_status(
    client: &Client,
    what: &str,
    fits: impl Fn(&weir_sdk::wire::request::BrokerStatus) -> bool,
) {
    let look = async {
        while !fits(&client.admin().status().await.unwrap()) {
            tokio::task::yield_now().await;
        }
    };
    soon(what, look).await;
}

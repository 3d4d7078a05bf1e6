//! Whether a plugin that does its worst on one topic is felt on another: how long a steady producer
//! waits for its records to be durable, alone and beside it.

use std::cell::Cell;
use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rand::RngCore;
use rustix::time::{ClockId, clock_gettime};
use tokio::time::{Instant, MissedTickBehavior, interval};
use weir_sdk::{Client, FilterSpec, Producer, PublishError, Record};
use weir_wire::id::BindingId;
use weir_wire::plugin::Hook;
use weir_wire::request::Bind;

use super::load::{self, Latencies};
use super::report::{Measurement, Report};
use super::site::Site;
use super::{Load, median};
use crate::exit::{Exit, Failure};

/// What `weir bench isolation --help` ends with.
pub const HELP: &str = "\
A producer sends 1,000 records a second to one topic, alone and beside a plugin on another topic
that loops for ever, takes all memory, or floods its log: as a filter of a subscription that is
opened again whenever the broker has ended it, or at the hook `key`, let out of quarantine each
time. Both take turns; the median of the ratios of the 99th percentiles counts. `cores` says how
many processors client, broker and plugin kept busy, `alone_cores` the same without it, and
`attacks` how often the broker had enough of it within a turn.

Examples:
  weir bench isolation --embedded /tmp
  weir bench isolation --embedded /tmp --seconds 3 --output json";

/// Records of the steady producer, one by one.
const RATE: u64 = 1000;
const TICK: Duration = Duration::from_millis(1);
/// Records that the hostile plugin gets.
const PREY: Load = Load {
    size: 100,
    batch: 1000,
    time: Duration::ZERO,
};
/// How long a request to the hostile plugin is tried again.
const RETRIES: Duration = Duration::from_secs(1);
/// A broker that takes less than a twentieth of a core for so long rests.
const LOOK: Duration = Duration::from_millis(200);
const RESTING_MAX: Duration = Duration::from_secs(30);

/// A plugin that does its worst.
struct Hostile {
    name: &'static str,
    hook: Hook,
    component: &'static [u8],
}

macro_rules! hostile {
    ($name:literal) => {
        include_bytes!(concat!(
            "../../../../../plugins/prebuilt/hostile/",
            $name,
            ".wasm"
        ))
    };
}

const HOSTILE: [Hostile; 4] = [
    Hostile {
        name: "filter-loops",
        hook: Hook::Filter,
        component: hostile!("loops"),
    },
    Hostile {
        name: "filter-eats-memory",
        hook: Hook::Filter,
        component: hostile!("eats-memory"),
    },
    Hostile {
        name: "filter-floods-log",
        hook: Hook::Filter,
        component: hostile!("chatters"),
    },
    Hostile {
        name: "key-loops",
        hook: Hook::Key,
        component: hostile!("keys-loop"),
    },
];

/// Measures it with each hostile plugin, in so many rounds.
pub async fn measure(
    site: &Site,
    load: Load,
    rounds: u16,
    report: &mut Report,
) -> Result<(), Failure> {
    let topic = site.topic(1).await?;
    // Connections of its own: what is measured is the broker, not a queue of the client.
    let client = site.client().dedicated();
    let producer = client
        .producer(&topic)
        .linger(Duration::ZERO)
        .open()
        .await?;
    steady(&producer, load).await?;
    for hostile in &HOSTILE {
        report.add(beside(site, &producer, load, rounds, hostile).await?)?;
    }
    let closed = producer.close().await;
    closed.map_err(|error| Failure::of(Exit::Failed, &error))?;
    client.close().await;
    site.remove(&topic).await;
    Ok(())
}

/// The rounds with one hostile plugin.
async fn beside(
    site: &Site,
    producer: &Producer,
    load: Load,
    rounds: u16,
    hostile: &Hostile,
) -> Result<Measurement, Failure> {
    let attack = Attack::prepare(site, hostile).await?;
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    let mut ratios = Vec::new();
    let (mut alone_cores, mut cores) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        rest().await;
        let work = Work::begin();
        let quiet = steady(producer, load).await?.quantile_us(0.99);
        alone_cores.push(work.cores());
        let work = Work::begin();
        let busy = tokio::select! {
            latencies = steady(producer, load) => latencies?,
            never = attack.run() => match never? {},
        };
        cores.push(work.cores());
        let busy = busy.quantile_us(0.99);
        ratios.push(busy / quiet);
        alone.push(quiet);
        beside.push(busy);
    }
    let attacks = attack.count.get();
    attack.end(site).await;
    rest().await;
    Ok(Measurement::new("isolation", None)
        .with("hostile", hostile.name)
        .with("size", load.size)
        .with("rate", RATE)
        .with("rounds", rounds)
        .with("attacks", attacks)
        .with("alone_cores", median(alone_cores))
        .with("cores", median(cores))
        .with("alone_p99_us", median(alone))
        .with("p99_us", median(beside))
        .with("ratio_to_alone", median(ratios)))
}

/// Sends at the steady rate; from when a record was due until it was durable.
async fn steady(producer: &Producer, load: Load) -> Result<Latencies, Failure> {
    let total = RATE * load.time.as_millis() as u64 / 1000;
    let mut value = vec![0; load.size as usize];
    rand::rng().fill_bytes(&mut value);
    let value = Bytes::from(value);
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut latencies = Latencies::new();
    // Bounded by the records that are sent.
    let mut waiting = FuturesUnordered::new();
    let mut sent = 0;
    loop {
        tokio::select! {
            due = tick.tick(), if sent < total => {
                let ticket = producer.send(Record::new(value.clone())).await;
                let ticket = ticket.map_err(PublishError::from)?;
                waiting.push(async move { ticket.await.map(|_| due.elapsed()) });
                sent += 1;
            }
            Some(took) = waiting.next() => latencies.add(took?),
            else => return Ok(latencies),
        }
    }
}

/// A hostile plugin at its topic.
struct Attack {
    client: Client,
    topic: String,
    plugin: String,
    /// At the hook `key`.
    binding: Option<BindingId>,
    prey: Bytes,
    /// How often it was called until the broker had enough of it.
    count: Cell<u64>,
}

impl Attack {
    async fn prepare(site: &Site, hostile: &Hostile) -> Result<Self, Failure> {
        let topic = site.topic(1).await?;
        let client = site.client().dedicated();
        let prey = load::batch(PREY, &[])?;
        let plugin = hostile.name.to_owned();
        let component = Bytes::from_static(hostile.component);
        client.admin().push_plugin(&plugin, component).await?;
        let mut binding = None;
        if hostile.hook == Hook::Filter {
            let producer = client.producer(&topic).open().await?;
            let ticket = producer.send_batch(prey.clone()).await;
            ticket.map_err(PublishError::from)?.await?;
        } else {
            let wrong = |error: &dyn std::error::Error| Failure::of(Exit::Failed, error);
            let name = plugin.parse().map_err(|error| wrong(&error))?;
            let at = topic.parse().map_err(|error| wrong(&error))?;
            let bind = Bind::new(name, at, hostile.hook);
            let (bound, _) = client.admin().bind(&bind).await?;
            binding = Some(bound.id);
        }
        Ok(Self {
            client,
            topic,
            plugin,
            binding,
            prey,
            count: Cell::new(0),
        })
    }

    /// Attacks until it is dropped.
    async fn run(&self) -> Result<Infallible, Failure> {
        loop {
            match self.binding {
                None => self.read().await?,
                Some(binding) => self.write(binding).await?,
            }
            self.count.set(self.count.get() + 1);
        }
    }

    /// Subscribes, until the broker ends that.
    async fn read(&self) -> Result<(), Failure> {
        let filter = FilterSpec {
            plugin: self
                .plugin
                .parse()
                .map_err(|error| Failure::of(Exit::Failed, &error))?,
            version: None,
            config: Vec::new(),
            on_error: None,
            limits: None,
        };
        let subscription = self.client.subscribe([&self.topic]).filter(filter);
        let mut subscriber = subscription.open().await?;
        while let Some(Ok(_)) = subscriber.next_event().await {}
        Ok(())
    }

    /// Sends a batch, until the broker refuses it.
    async fn write(&self, binding: BindingId) -> Result<(), Failure> {
        let producer = self.client.producer(&self.topic).retry_timeout(RETRIES);
        let producer = producer.open().await?;
        if let Ok(ticket) = producer.send_batch(self.prey.clone()).await {
            // That it is refused is what this is about.
            ticket.await.ok();
        }
        producer.close().await.ok();
        self.client.admin().unquarantine(binding).await?;
        Ok(())
    }

    async fn end(self, site: &Site) {
        self.client.close().await;
        site.remove(&self.topic).await;
    }
}

/// What this process does from some time on.
struct Work {
    begin: Instant,
    before: Duration,
}

impl Work {
    fn begin() -> Self {
        Self {
            begin: Instant::now(),
            before: cpu_time(),
        }
    }

    /// How many processors it has kept busy.
    fn cores(&self) -> f64 {
        (cpu_time() - self.before).as_secs_f64() / self.begin.elapsed().as_secs_f64()
    }
}

/// Waits until this process, and so the broker in it, has next to nothing to do.
async fn rest() {
    let begin = Instant::now();
    while begin.elapsed() < RESTING_MAX {
        let before = cpu_time();
        tokio::time::sleep(LOOK).await;
        if cpu_time() - before < LOOK / 20 {
            return;
        }
    }
}

/// Processor time of this process.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

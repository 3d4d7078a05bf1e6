//! `weir topic`: make, list, describe, change, truncate and delete topics.

use serde_json::{Value, json};
use weir_sdk::{AdminError, Client};
use weir_wire::name::TopicName;
use weir_wire::request::TopicInfo;

use crate::ask::{Unasked, YesArgs};
use crate::connect::{ConnectArgs, connect};
use crate::exit::Failure;
use crate::failure::{is_unknown_topic, nothing_to_delete, unknown_topic};
use crate::output::{self, Listing, OutputArgs};
use crate::{size, time};

mod describe;
mod settings;
mod truncate;

use settings::{ChangeArgs, SettingsArgs};
use truncate::TruncateArgs;

/// What can be done with topics.
#[derive(Debug, clap::Subcommand)]
pub enum TopicVerb {
    /// Make a topic
    #[command(after_help = "Examples:
  weir topic create orders --partitions 8 --retention 7d
  weir topic create prices --compact --retention-bytes 10GiB")]
    Create(CreateArgs),
    /// List all topics
    #[command(after_help = "Examples:
  weir topic list
  weir topic list --output json")]
    List(ListArgs),
    /// Show a topic: what it keeps, its partitions, fences, groups and bindings
    #[command(after_help = "Examples:
  weir topic describe orders
  weir topic describe orders --output json")]
    Describe(DescribeArgs),
    /// Change what a topic keeps, or give it more partitions
    #[command(
        after_help = "What is not given stays as it is. Partitions can only be added: from \
then on a key may be in another one than before, and `describe` shows the fence between.

Examples:
  weir topic update orders --retention 30d --retention-bytes none
  weir topic update orders --partitions 16"
    )]
    Update(UpdateArgs),
    /// Remove the oldest records of a topic
    #[command(after_help = "Examples:
  weir topic truncate orders --before -30d
  weir topic truncate orders --before 120000 --partition 3 --yes")]
    Truncate(TruncateArgs),
    /// Delete a topic and its records
    #[command(after_help = "Examples:
  weir topic delete orders
  weir topic delete orders --yes")]
    Delete(DeleteArgs),
}

/// Arguments of `topic create`.
#[derive(Debug, clap::Args)]
pub struct CreateArgs {
    /// The topic: NAME, or NAMESPACE/NAME
    name: TopicName,
    /// How many partitions it has
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = partition_count())]
    partitions: u32,
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    connect: ConnectArgs,
}

fn partition_count() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=i64::from(weir_wire::limits::TOPIC_PARTITIONS_MAX))
}

/// Arguments of `topic list`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Arguments of `topic describe`.
#[derive(Debug, clap::Args)]
pub struct DescribeArgs {
    /// The topic
    name: TopicName,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Arguments of `topic update`.
#[derive(Debug, clap::Args)]
pub struct UpdateArgs {
    /// The topic
    name: TopicName,
    /// How many partitions it is to have; never fewer than it has
    #[arg(long, value_name = "N", value_parser = partition_count())]
    partitions: Option<u32>,
    #[command(flatten)]
    change: ChangeArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Arguments of `topic delete`.
#[derive(Debug, clap::Args)]
pub struct DeleteArgs {
    /// The topic
    name: TopicName,
    #[command(flatten)]
    yes: YesArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Does it.
pub async fn run(verb: TopicVerb) -> Result<(), Failure> {
    match verb {
        TopicVerb::Create(args) => create(args).await,
        TopicVerb::List(args) => list(args).await,
        TopicVerb::Describe(args) => describe(args).await,
        TopicVerb::Update(args) => update(args).await,
        TopicVerb::Truncate(args) => truncate::run(args).await,
        TopicVerb::Delete(args) => delete(args).await,
    }
}

async fn create(args: CreateArgs) -> Result<(), Failure> {
    let client = connect(&args.connect).await?;
    let name = args.name.to_string();
    let admin = client.admin();
    let settings = args.settings.settings();
    let topic = admin
        .create_topic_with(&name, args.partitions, settings)
        .await?;
    let partitions = size::counted(topic.partitions.into(), "partition");
    let text = format!("topic {name:?} made, {partitions}");
    output::print_one(args.output.output, &topic_json(&topic), &text)?;
    Ok(())
}

async fn list(args: ListArgs) -> Result<(), Failure> {
    let client = connect(&args.connect).await?;
    let topics = client.admin().list_topics().await?;
    let mut table = Listing::new(&["topic", "partitions#", "records#", "size#", "made"]);
    for topic in &topics {
        table.row([
            topic.name.to_string(),
            topic.partitions.to_string(),
            size::count(topic.records),
            size::bytes(topic.bytes),
            time::format(topic.created),
        ]);
    }
    let objects: Vec<_> = topics.iter().map(topic_json).collect();
    output::print_many(args.output.output, &objects, &table)
}

async fn describe(args: DescribeArgs) -> Result<(), Failure> {
    let client = connect(&args.connect).await?;
    let name = args.name.to_string();
    let described = client.admin().describe_topic(&name).await;
    let topic = explain(described, &client, &name).await?;
    let object = describe::json(&topic);
    output::print_one(args.output.output, &object, &describe::text(&topic))
}

async fn update(args: UpdateArgs) -> Result<(), Failure> {
    let name = args.name.to_string();
    let update = args.change.update(args.name, args.partitions)?;
    let client = connect(&args.connect).await?;
    let updated = client.admin().update_topic(&update).await;
    let (topic, settings) = explain(updated, &client, &name).await?;
    let mut object = topic_json(&topic);
    settings::add_json(&mut object, &settings);
    let partitions = size::counted(topic.partitions.into(), "partition");
    let text = format!(
        "topic      {}, {partitions}\n{}",
        topic.name,
        settings::text(&settings),
    );
    output::print_one(args.output.output, &object, &text)
}

async fn delete(args: DeleteArgs) -> Result<(), Failure> {
    let client = connect(&args.connect).await?;
    let name = args.name.to_string();
    let topic = match client.admin().describe_topic(&name).await {
        Ok(described) => described.topic,
        Err(error) if is_unknown_topic(error.fault()) => {
            return Err(nothing_to_delete(&client, &name).await);
        }
        Err(error) => return Err(error.into()),
    };
    let counted = size::counted(topic.records, "record");
    let question = format!("delete topic {name:?} and its {counted} for good?");
    args.yes.confirm(&question, Unasked::Refuse)?;
    explain(client.admin().delete_topic(&name).await, &client, &name).await?;
    let object = json!({ "topic": name, "deleted": true, "records": topic.records });
    let text = format!("topic {name:?} is deleted, with {counted}");
    output::print_done(args.output.output, &object, &text)
}

/// Says which topic was probably meant, where there is none of that name.
async fn explain<T>(
    result: Result<T, AdminError>,
    client: &Client,
    name: &str,
) -> Result<T, Failure> {
    match result {
        Ok(value) => Ok(value),
        Err(error) if is_unknown_topic(error.fault()) => {
            Err(unknown_topic(client, &[name.to_owned()]).await)
        }
        Err(error) => Err(error.into()),
    }
}

fn topic_json(topic: &TopicInfo) -> Value {
    json!({
        "topic": topic.name.to_string(),
        "id": topic.id.value(),
        "partitions": topic.partitions,
        "records": topic.records,
        "bytes": topic.bytes,
        "created": time::format(topic.created),
        "placement": placement(topic),
    })
}

const fn placement(topic: &TopicInfo) -> &'static str {
    if topic.placement_by_plugin {
        "plugin"
    } else {
        "client"
    }
}

//! `weir topic`: make, list, describe and delete topics.

use serde_json::{Value, json};
use weir_sdk::{AdminError, Client};
use weir_wire::name::TopicName;
use weir_wire::request::{TopicDescription, TopicInfo};

use super::plugin::{binding_json, binding_listing};
use crate::ask::{Unasked, YesArgs};
use crate::connect::{ConnectArgs, connect};
use crate::exit::Failure;
use crate::failure::{is_unknown_topic, unknown_topic};
use crate::output::{self, Listing, OutputArgs};
use crate::{size, time};

/// What can be done with topics.
#[derive(Debug, clap::Subcommand)]
pub enum TopicVerb {
    /// Make a topic
    #[command(after_help = "Examples:
  weir topic create orders
  weir topic create orders --partitions 8")]
    Create(CreateArgs),
    /// List all topics
    #[command(after_help = "Examples:
  weir topic list
  weir topic list --output json")]
    List(ListArgs),
    /// Show a topic with its partitions and bindings
    #[command(after_help = "Examples:
  weir topic describe orders
  weir topic describe orders --output json")]
    Describe(DescribeArgs),
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

/// Arguments of `topic delete`.
#[derive(Debug, clap::Args)]
pub struct DeleteArgs {
    /// The topic
    name: TopicName,
    #[command(flatten)]
    yes: YesArgs,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Does it.
pub async fn run(verb: TopicVerb) -> Result<(), Failure> {
    match verb {
        TopicVerb::Create(args) => create(args).await,
        TopicVerb::List(args) => list(args).await,
        TopicVerb::Describe(args) => describe(args).await,
        TopicVerb::Delete(args) => delete(args).await,
    }
}

async fn create(args: CreateArgs) -> Result<(), Failure> {
    let client = connect(&args.connect).await?;
    let name = args.name.to_string();
    let topic = client.admin().create_topic(&name, args.partitions).await?;
    let many = if topic.partitions == 1 { "" } else { "s" };
    let text = format!("topic {name:?} made, {} partition{many}", topic.partitions);
    output::print_one(args.output.output, &topic_json(&topic), &text)?;
    client.close().await;
    Ok(())
}

async fn list(args: ListArgs) -> Result<(), Failure> {
    let client = connect(&args.connect).await?;
    let topics = client.admin().list_topics().await?;
    client.close().await;
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
    client.close().await;
    let object = description_json(&topic);
    output::print_one(args.output.output, &object, &description_text(&topic))
}

async fn delete(args: DeleteArgs) -> Result<(), Failure> {
    let client = connect(&args.connect).await?;
    let name = args.name.to_string();
    let described = client.admin().describe_topic(&name).await;
    let topic = explain(described, &client, &name).await?.topic;
    let records = size::count(topic.records);
    let question = format!("delete topic {name:?} and its {records} records for good?");
    args.yes.confirm(&question, Unasked::Refuse)?;
    explain(client.admin().delete_topic(&name).await, &client, &name).await?;
    output::note(&format!(
        "topic {name:?} is deleted, with {records} records"
    ));
    client.close().await;
    Ok(())
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

fn description_json(description: &TopicDescription) -> Value {
    let partitions = description.partitions.iter().map(|partition| {
        json!({
            "partition": partition.partition.value(),
            "start": partition.start.value(),
            "end": partition.end.value(),
            "records": partition.end.since(partition.start),
        })
    });
    let bindings = description.bindings.iter().map(binding_json);
    let mut object = topic_json(&description.topic);
    // In detail, `partitions` is the list; its length is the number.
    object["partitions"] = partitions.collect();
    object["bindings"] = bindings.collect();
    object
}

fn description_text(description: &TopicDescription) -> String {
    let topic = &description.topic;
    let mut partitions = Listing::new(&["partition#", "start#", "end#", "records#"]);
    for partition in &description.partitions {
        partitions.row([
            partition.partition.to_string(),
            partition.start.to_string(),
            partition.end.to_string(),
            size::count(partition.end.since(partition.start)),
        ]);
    }
    let mut text = format!(
        "topic      {}\nmade       {}\nrecords    {}\nsize       {}\nplacement  by {}\n\n{}\n",
        topic.name,
        time::format(topic.created),
        size::count(topic.records),
        size::bytes(topic.bytes),
        placement(topic),
        partitions.render(None),
    );
    if !description.bindings.is_empty() {
        text.push('\n');
        text.push_str(&binding_listing(&description.bindings).render(None));
        text.push('\n');
    }
    text
}

//! The one map from the SDK's errors to exit codes and sentences.

use weir_sdk::{AdminError, Client, ConnectError, OpenProducerError, PublishError, SubscribeError};
use weir_wire::error::{ErrorCode, Fault};
use weir_wire::id::TopicId;
use weir_wire::name::TopicName;

use crate::exit::{Exit, Failure};

/// How alike two names have to be for one to be taken for the other.
const ALIKE: f64 = 0.8;

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        Self::of(connect_exit(&error), &error)
    }
}

impl From<AdminError> for Failure {
    fn from(error: AdminError) -> Self {
        let exit = match &error {
            AdminError::Name(_) => Exit::Usage,
            AdminError::Connect(error) => connect_exit(error),
            AdminError::Refused(fault) => fault_exit(fault),
            AdminError::Lost { .. } | AdminError::TimedOut { .. } => Exit::Unreachable,
            _ => Exit::Failed,
        };
        Self::of(exit, &error)
    }
}

impl From<OpenProducerError> for Failure {
    fn from(error: OpenProducerError) -> Self {
        let exit = match &error {
            OpenProducerError::Name(_) | OpenProducerError::Option { .. } => Exit::Usage,
            OpenProducerError::Connect(error) => connect_exit(error),
            OpenProducerError::Refused(fault) => fault_exit(fault),
            OpenProducerError::Lost { .. } => Exit::Unreachable,
            _ => Exit::Failed,
        };
        Self::of(exit, &error)
    }
}

impl From<PublishError> for Failure {
    fn from(error: PublishError) -> Self {
        let exit = error.fault().map_or(Exit::Failed, fault_exit);
        Self::of(exit, &error)
    }
}

impl From<SubscribeError> for Failure {
    fn from(error: SubscribeError) -> Self {
        let exit = match &error {
            SubscribeError::Name(_) => Exit::Usage,
            SubscribeError::Connect(error) => connect_exit(error),
            SubscribeError::Lost { .. } => Exit::Unreachable,
            _ => error.fault().map_or(Exit::Failed, fault_exit),
        };
        Self::of(exit, &error)
    }
}

const fn connect_exit(error: &ConnectError) -> Exit {
    match error {
        ConnectError::NoAnswer { .. }
        | ConnectError::Resolve { .. }
        | ConnectError::NotWeir { .. }
        | ConnectError::Lost { .. }
        | ConnectError::Socket { .. } => Exit::Unreachable,
        ConnectError::NotAuthorised(_) => Exit::NotAuthorised,
        ConnectError::Refused(fault) => fault_exit(fault),
        ConnectError::Address(_) => Exit::Usage,
        _ => Exit::Failed,
    }
}

const fn fault_exit(fault: &Fault) -> Exit {
    match fault.code {
        ErrorCode::NotAuthorised => Exit::NotAuthorised,
        ErrorCode::ShuttingDown => Exit::Unreachable,
        _ => Exit::Failed,
    }
}

/// Whether an error says that a topic does not exist.
pub fn is_unknown_topic(fault: Option<&Fault>) -> bool {
    fault.is_some_and(|fault| fault.code == ErrorCode::UnknownTopic)
}

/// The failure for a topic that does not exist, with the topic that was probably meant. Of
/// several names, the one that is missing is found.
pub async fn unknown_topic(client: &Client, names: &[String]) -> Failure {
    let known = match topic_names(client).await {
        Ok(known) => known,
        Err(failure) => return failure,
    };
    let missing = names
        .iter()
        .map(|name| short(name))
        .find(|name| !known.iter().any(|known| known == name));
    match missing {
        Some(name) => Failure::failed(format!(
            "{} (create it: weir topic create {name})",
            missing_one("topic", name, &known)
        )),
        None => Failure::failed("the topic was made this moment; try again"),
    }
}

/// The failure for a topic that cannot be deleted because there is none.
pub async fn nothing_to_delete(client: &Client, name: &str) -> Failure {
    match topic_names(client).await {
        Ok(known) => Failure::failed(missing_one("topic", short(name), &known)),
        Err(failure) => failure,
    }
}

/// The failure for a subscription that ended because one of its topics was deleted.
pub async fn deleted_topic(client: &Client, names: &[String]) -> Failure {
    let known = match topic_names(client).await {
        Ok(known) => known,
        Err(failure) => return failure,
    };
    let is_known = |name: &str| known.iter().any(|known| known == name);
    match names.iter().map(|name| short(name)).find(|n| !is_known(n)) {
        Some(name) => deleted(name),
        None => Failure::failed("a topic was deleted and made again; start once more to read it"),
    }
}

/// The failure for a producer whose topic was deleted, if that is what happened.
pub async fn if_deleted(client: &Client, topic: &TopicName, id: TopicId) -> Option<Failure> {
    let name = topic.to_string();
    match client.admin().describe_topic(&name).await {
        Ok(described) if described.topic.id == id => None,
        Ok(_) => Some(Failure::failed(format!(
            "topic {:?} was deleted and made again; start once more to send to the new one",
            short(&name)
        ))),
        Err(error) => is_unknown_topic(error.fault()).then(|| deleted(short(&name))),
    }
}

fn deleted(name: &str) -> Failure {
    Failure::failed(format!("topic {name:?} was deleted"))
}

async fn topic_names(client: &Client) -> Result<Vec<String>, Failure> {
    let topics = client.admin().list_topics().await?;
    Ok(topics.iter().map(|topic| topic.name.to_string()).collect())
}

/// Whether an error says that a plugin does not exist.
pub fn is_unknown_plugin(fault: Option<&Fault>) -> bool {
    fault.is_some_and(|fault| fault.code == ErrorCode::UnknownPlugin)
}

/// The failure for a plugin that does not exist and is to be used, with the one that was probably
/// meant. Of several names, the one that is missing is found.
pub async fn unknown_plugin(client: &Client, names: &[&str]) -> Failure {
    let known = match plugin_names(client).await {
        Ok(known) => known,
        Err(failure) => return failure,
    };
    let is_missing = |name: &&&str| !known.iter().any(|known| known == **name);
    match names.iter().find(is_missing) {
        Some(name) => Failure::failed(format!(
            "{} (upload it: weir plugin push FILE.wasm --name {name})",
            missing_one("plugin", name, &known)
        )),
        None => Failure::failed("the plugin was uploaded this moment; try again"),
    }
}

async fn plugin_names(client: &Client) -> Result<Vec<String>, Failure> {
    let plugins = client.admin().list_plugins().await?;
    Ok(plugins.iter().map(|it| it.name.to_string()).collect())
}

/// An error that a wrong name of a plugin may be behind.
pub async fn of_plugin(client: &Client, name: &str, error: AdminError) -> Failure {
    if !is_unknown_plugin(error.fault()) {
        return error.into();
    }
    match plugin_names(client).await {
        Ok(known) => Failure::failed(missing_one("plugin", name, &known)),
        Err(failure) => failure,
    }
}

/// The name without the namespace that may be left out.
fn short(name: &str) -> &str {
    name.strip_prefix("default/").unwrap_or(name)
}

fn missing_one(thing: &str, name: &str, known: &[String]) -> String {
    let meant = closest(name, known)
        .map(|meant| format!("; did you mean {meant:?}?"))
        .unwrap_or_default();
    format!("{thing} {name:?} does not exist{meant}")
}

/// The name that was probably meant.
pub fn closest<'a>(name: &str, known: &'a [String]) -> Option<&'a str> {
    let scored = known
        .iter()
        .map(|other| (strsim::jaro_winkler(name, other), other.as_str()));
    scored
        .filter(|(score, _)| *score >= ALIKE)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topic_that_was_meant() {
        let known = ["orders", "payments", "orders-old"].map(str::to_owned);
        assert_eq!(
            missing_one("topic", "ordres", &known),
            "topic \"ordres\" does not exist; did you mean \"orders\"?"
        );
        assert_eq!(
            missing_one("topic", "xyz", &known),
            "topic \"xyz\" does not exist"
        );
    }

    #[test]
    fn exit_codes_of_the_contract() {
        let no_answer = ConnectError::NoAnswer {
            address: "127.0.0.1:1".to_owned(),
        };
        assert_eq!(Failure::from(no_answer).exit(), Exit::Unreachable);
        let refused = Fault::new(ErrorCode::NotAuthorised, "give a token");
        let error = ConnectError::NotAuthorised(refused.clone());
        assert_eq!(Failure::from(error).exit(), Exit::NotAuthorised);
        assert_eq!(
            Failure::from(AdminError::Refused(refused)).exit(),
            Exit::NotAuthorised
        );
        let exists = Fault::new(ErrorCode::TopicExists, "it exists");
        assert_eq!(
            Failure::from(AdminError::Refused(exists)).exit(),
            Exit::Failed
        );
    }
}

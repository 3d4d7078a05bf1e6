//! The one map from the SDK's errors to exit codes and sentences.

use weir_sdk::{AdminError, Client, ConnectError, OpenProducerError, PublishError, SubscribeError};
use weir_wire::error::{ErrorCode, Fault};

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
    let topics = match client.admin().list_topics().await {
        Ok(topics) => topics,
        Err(error) => return error.into(),
    };
    let known: Vec<String> = topics.iter().map(|topic| topic.name.to_string()).collect();
    let missing = names
        .iter()
        .map(|name| short(name))
        .find(|name| !known.iter().any(|known| known == name));
    match missing {
        Some(name) => Failure::failed(missing_topic(name, &known)),
        None => Failure::failed("the topic was made this moment; try again"),
    }
}

/// The name without the namespace that may be left out.
fn short(name: &str) -> &str {
    name.strip_prefix("default/").unwrap_or(name)
}

fn missing_topic(name: &str, known: &[String]) -> String {
    let meant = closest(name, known)
        .map(|meant| format!("; did you mean {meant:?}?"))
        .unwrap_or_default();
    format!("topic {name:?} does not exist{meant} (create it: weir topic create {name})")
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
            missing_topic("ordres", &known),
            "topic \"ordres\" does not exist; did you mean \"orders\"? \
             (create it: weir topic create ordres)"
        );
        assert_eq!(
            missing_topic("xyz", &known),
            "topic \"xyz\" does not exist (create it: weir topic create xyz)"
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

//! Reading topics to their ends.

use std::time::Duration;

use tokio::time::timeout;
use weir_sdk::{Client, Event, FilterSpec, Received, SubscribeError};

/// How long a subscriber may hear nothing: far more than a busy machine needs for anything.
const SILENCE_MAX: Duration = Duration::from_secs(120);

/// Waits for what must come.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let came = timeout(SILENCE_MAX, future).await;
    came.unwrap_or_else(|_| panic!("{what}: not within {SILENCE_MAX:?}"))
}

/// Hands every record of the topics that is there now to `each`, through a filter if one is given.
pub async fn to_the_end(
    client: &Client,
    topics: &[&str],
    filter: Option<FilterSpec>,
    mut each: impl FnMut(Received),
) -> Result<(), SubscribeError> {
    let mut builder = client.subscribe(topics).ordering_keys(filter.is_none());
    if let Some(filter) = filter {
        builder = builder.filter(filter);
    }
    let mut subscriber = builder.open().await?;
    while !subscriber.is_caught_up() {
        match soon("the topics' ends", subscriber.next_event()).await {
            Some(Ok(Event::Records(batch))) => {
                for record in batch {
                    each(record?);
                }
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(error),
            None => panic!("a subscription ends with an error, not silently"),
        }
    }
    Ok(())
}

//! Reading topics to their ends.

use weir_sdk::{Client, Event, FilterSpec, Received, SubscribeError};

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
        match subscriber.next_event().await {
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

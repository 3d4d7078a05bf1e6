//! The reader that runs along: what it saw must be there in the end.

use std::sync::Arc;

use weir_sdk::{Client, Event};

use super::Board;
use super::producer::ID_HEADER;
use crate::history::{Place, Problem};

/// Reads until it is cancelled, or told that it cannot go on.
pub(super) async fn run(client: Client, topics: Vec<&'static str>, board: Arc<Board>) {
    let opened = client.subscribe(&topics).open().await;
    let mut subscriber = opened.expect("a subscription opens while the broker lives");
    let reason = loop {
        match subscriber.next_event().await {
            Some(Ok(Event::Records(batch))) => {
                let mut history = board.history();
                for record in batch {
                    let record = match record {
                        Ok(record) => record,
                        Err(error) => {
                            history.note(Problem::ReaderEnded {
                                reason: error.to_string(),
                            });
                            return;
                        }
                    };
                    let id = record
                        .header(ID_HEADER)
                        .map(|id| String::from_utf8_lossy(id));
                    let id = id.and_then(|id| id.parse().ok());
                    let place = Place {
                        topic: (*record.topic).clone(),
                        partition: record.partition,
                        offset: record.offset,
                    };
                    match id {
                        Some(id) => history.read(place, id),
                        None => history.note(Problem::Unknown { place }),
                    }
                }
                drop(history);
                board.event();
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => break error.to_string(),
            None => break "the subscription ended without an error".to_owned(),
        }
    };
    board.history().note(Problem::ReaderEnded { reason });
}

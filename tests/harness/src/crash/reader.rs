//! Readers that run along: what they saw must be there in the end. One lives as long as the run
//! and finds its way back by itself; after every restart another one reads from the beginning, so
//! that the newest records are being read when the next kill comes.

use std::sync::Arc;

use weir_sdk::{Client, Event, ReceivedBatch, SubscribeError, Subscriber};

use super::Board;
use super::producer::ID_HEADER;
use crate::history::{Place, Problem, ReaderId};

/// Reads until it is cancelled, or cannot go on.
pub(super) async fn run(
    client: Client,
    reader: ReaderId,
    topics: Vec<&'static str>,
    board: Arc<Board>,
) {
    let reason = loop {
        match client.subscribe(&topics).open().await {
            Ok(subscriber) => {
                look_at_ends(&subscriber, &board);
                break follow(subscriber, reader, &board).await;
            }
            // A kill fell into the beginning; what has begun finds its way back by itself.
            Err(error) if error.is_retryable() => {}
            Err(error) => break error.to_string(),
        }
    };
    board.history().reader_ended(reader, reason);
    board.deliveries.send_modify(|deliveries| *deliveries += 1);
}

fn look_at_ends(subscriber: &Subscriber, board: &Board) {
    let mut history = board.history();
    for at in subscriber.partitions() {
        history.holds(&at.topic, at.partition, at.end);
    }
}

/// Reads on until that is impossible; answers why it is.
async fn follow(mut subscriber: Subscriber, reader: ReaderId, board: &Board) -> String {
    loop {
        match subscriber.next_event().await {
            Some(Ok(Event::Records(batch))) => match take_in(batch, reader, board) {
                // Only news moves a run on: every reader begins at the beginning.
                Ok(news) => {
                    if news {
                        board.news.send_modify(|news| *news += 1);
                    }
                    board.deliveries.send_modify(|deliveries| *deliveries += 1);
                }
                Err(error) => return error.to_string(),
            },
            Some(Ok(_)) => {}
            Some(Err(error)) => return error.to_string(),
            None => return "the subscription ended without an error".to_owned(),
        }
    }
}

/// Writes a batch down; answers whether anything in it is new.
fn take_in(batch: ReceivedBatch, reader: ReaderId, board: &Board) -> Result<bool, SubscribeError> {
    let mut news = false;
    let mut history = board.history();
    for record in batch {
        let record = record?;
        let id = record
            .header(ID_HEADER)
            .map(|id| String::from_utf8_lossy(id));
        let place = Place {
            topic: (*record.topic).clone(),
            partition: record.partition,
            offset: record.offset,
        };
        match id.and_then(|id| id.parse().ok()) {
            Some(id) => news |= history.read(reader, place, id),
            None => history.note(Problem::Unknown { place }),
        }
    }
    Ok(news)
}

//! Who waits for a file hears of everything, and no file is removed that is being made.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use weir_wire::id::ShardId;

use super::{Files, Spare};
use crate::config::LogConfig;
use crate::ids::FileSequence;
use crate::reserve::Reserve;
use crate::vfs::SimVfs;

const TIME: Duration = Duration::from_millis(20);

fn files() -> Files {
    let config = LogConfig::new("/data", ShardId::new(0));
    Files::new(Reserve::new(Arc::new(SimVfs::new(1)), &config))
}

#[test]
fn the_end_is_told_to_nobody_between_looking_and_waiting() {
    let files = Arc::new(files());
    let (tell, told) = sync_channel(1);
    // Whoever has looked whether it is the end holds this until it waits.
    let looks = files.state();
    let other = files.clone();
    let closes = std::thread::spawn(move || {
        other.close();
        tell.send(()).unwrap();
    });
    assert!(told.recv_timeout(TIME).is_err(), "it would not be heard");
    drop(looks);
    told.recv().unwrap();
    closes.join().unwrap();
}

#[test]
fn the_file_that_was_found_behind_the_end_is_used_first_and_never_removed() {
    let files = files();
    for number in [6, 3, 4] {
        let sequence = FileSequence::new(number);
        assert!(files.give_spare(Spare { sequence, bytes: 1 }).is_none());
    }
    let number = |spare: Option<Spare>| spare.map(|spare| spare.sequence.value());
    assert_eq!(number(files.take_spare_but_one()), Some(4));
    assert_eq!(number(files.take_spare_but_one()), Some(3));
    assert_eq!(number(files.take_spare_but_one()), None);
    assert_eq!(number(files.take_spare(1)), Some(6));
}

//! The reserve and its file agree, whoever changes it when.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use weir_wire::id::ShardId;

use super::Reserve;
use crate::config::LogConfig;
use crate::vfs::{OpenMode, SimVfs, Vfs};

const BYTES: u64 = 64 << 20;
const TIME: Duration = Duration::from_millis(20);

fn reserve(sim: &SimVfs) -> Reserve {
    sim.create_dir_all(Path::new("/data")).unwrap();
    let config = LogConfig::new("/data", ShardId::new(0));
    Reserve::new(Arc::new(sim.clone()), &config)
}

fn length(sim: &SimVfs, reserve: &Reserve) -> u64 {
    let file = sim.open(&reserve.path(), OpenMode::Read);
    file.map_or(0, |file| file.size().unwrap())
}

#[test]
fn it_is_not_given_up_while_it_grows() {
    let sim = SimVfs::new(1);
    let reserve = Arc::new(reserve(&sim));
    assert!(reserve.hold(BYTES).unwrap());
    let (tell, told) = sync_channel(1);
    let other = reserve.clone();
    let mut begins = Some(move || {
        other.give_up().unwrap();
        let _ = tell.send(());
    });
    let (tell_early, told_early) = sync_channel(1);
    // At the first step of the growing the other thread begins, and has time for all it does.
    sim.watch_steps(move |_| {
        if let Some(give_up) = begins.take() {
            std::thread::spawn(give_up);
            tell_early.send(told.recv_timeout(TIME)).unwrap();
        }
        false
    });
    assert!(reserve.hold(2 * BYTES).unwrap());
    sim.unwatch();
    assert!(told_early.recv().unwrap().is_err(), "it waits");
}

#[test]
fn it_grows_and_what_there_was_stays_where_there_is_no_room_for_more() {
    let sim = SimVfs::new(1);
    let reserve = reserve(&sim);
    sim.set_capacity(Some(4 * BYTES));
    assert!(reserve.hold(BYTES).unwrap());
    assert!(reserve.hold(3 * BYTES).unwrap());
    assert_eq!(length(&sim, &reserve), 3 * BYTES);
    assert!(!reserve.hold(5 * BYTES).unwrap());
    assert_eq!(length(&sim, &reserve), 3 * BYTES);
    assert!(!reserve.is_whole());
    // What it has to cover became less.
    assert!(reserve.hold(2 * BYTES).unwrap());
    assert!(reserve.is_whole());
    assert_eq!(reserve.bytes(), 3 * BYTES);
    assert!(reserve.give_up().unwrap());
    assert!(!reserve.give_up().unwrap());
    assert_eq!((length(&sim, &reserve), reserve.bytes()), (0, 0));
}

#[test]
fn a_longer_one_stays_where_a_shorter_one_could_not_be_made() {
    let sim = SimVfs::new(1);
    let reserve = reserve(&sim);
    let (longer, shorter) = (2 * BYTES + 4096, 2 * BYTES);
    assert!(reserve.hold(longer).unwrap());
    // Of the room that it would give back the shorter one leaves a page; a file is to fit besides.
    let needed = reserve.besides - 4096;
    sim.set_capacity(Some(sim.used() + needed - 1));
    assert!(!reserve.may_be_shorter(shorter));
    sim.set_capacity(Some(sim.used() + needed));
    assert!(reserve.may_be_shorter(shorter));
    assert_eq!(reserve.for_sections(), longer - reserve.bytes_min);
}

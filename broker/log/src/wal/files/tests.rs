//! When the thread that prepares files waits, and when it does not.

use std::time::Duration;

use super::Signal;
use crate::ids::FileSequence;

const SHORT: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_file_is_left_alone_once_it_is_wanted_and_not_before() {
    let signal = Signal::default();
    assert!(!signal.wait(FileSequence::new(2), SHORT));
    signal.set(|state| state.wanted = FileSequence::new(2));
    assert!(signal.wait(FileSequence::new(2), LONG));
    // That the one before was wanted says nothing about the next.
    assert!(!signal.wait(FileSequence::new(3), SHORT));
    signal.set(|state| state.ended = true);
    assert!(signal.wait(FileSequence::new(3), LONG));
    assert!(signal.pause(LONG));
}

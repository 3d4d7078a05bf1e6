//! The plugin that the README of the repository shows, tested natively as its author would.

#[path = "../../../examples/key-prefix/src/lib.rs"]
mod key_prefix;

use key_prefix::KeyPrefix;
use weir_plugin::testing::{Sample, filter};

#[test]
fn the_beginning_of_the_key_decides() {
    let plugin = filter::<KeyPrefix>(&[("prefix", "N5")]).unwrap();
    let keeps = |sample| plugin.keep(sample).unwrap();
    assert!(keeps(Sample::new().key("N593JB")));
    assert!(!keeps(Sample::new().key("N14228")));
    assert!(!keeps(Sample::new().key("N")));
    assert!(!keeps(Sample::new()));
}

#[test]
fn the_prefix_has_to_be_set() {
    let error = filter::<KeyPrefix>(&[]).map(drop).unwrap_err();
    assert!(error.message().contains("prefix"), "{error}");
}

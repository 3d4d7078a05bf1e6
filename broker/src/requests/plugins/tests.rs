//! Pages of plugins.

use weir_core::shard::{ChangeRequest, Shard};
use weir_wire::id::{PluginVersion, Timestamp};
use weir_wire::limits::{PAGE_ITEMS_MAX, PLUGIN_VERSIONS_MAX, RECORDS_HEADER_MAX};
use weir_wire::message::Message;
use weir_wire::plugin::Hook;
use weir_wire::request::ListPlugins;

/// Plugins with the longest names, and that many versions each.
fn shard(plugins: usize, versions: usize) -> Shard {
    let mut shard = Shard::default();
    for plugin in 0..plugins {
        for version in 0..versions {
            let mut hash = [0xff; 32];
            hash[..8].copy_from_slice(&(version as u64).to_le_bytes());
            let request = ChangeRequest::PushPlugin {
                name: format!("{plugin:0>249}").parse().unwrap(),
                version: PluginVersion::new(hash),
                bytes: u64::MAX,
                hooks: Hook::ALL.to_vec(),
            };
            let change = shard.plan_change(Timestamp::new(i64::MAX), &request);
            let change = change.unwrap();
            shard.commit_change(&change);
        }
    }
    shard
}

#[test]
fn plugins_come_in_pages() {
    let shard = shard(2 * PAGE_ITEMS_MAX, 1);
    let mut after = None;
    for (from, more) in [(0, true), (PAGE_ITEMS_MAX, false)] {
        let page = super::list(&shard, &ListPlugins { after });
        assert_eq!((page.plugins.len(), page.more), (PAGE_ITEMS_MAX, more));
        let first = page.plugins[0].name.as_str();
        assert_eq!(first, format!("{from:0>249}"));
        after = page.plugins.last().map(|plugin| plugin.name.clone());
    }
    let page = super::list(&shard, &ListPlugins { after });
    assert_eq!((page.plugins.len(), page.more), (0, false));
}

#[test]
fn the_largest_page_fits_its_frame() {
    let shard = shard(PAGE_ITEMS_MAX, PLUGIN_VERSIONS_MAX);
    let page = super::list(&shard, &ListPlugins { after: None });
    assert_eq!(page.plugins.len(), PAGE_ITEMS_MAX);
    assert!(page.to_vec().len() < RECORDS_HEADER_MAX);
}

//! The plugin that the kit's README shows, and its test, compiled and run as an author would.

#[path = "readme/only.rs"]
mod only;

/// Every piece of code on the page stands in the file that is tested.
#[test]
fn the_page_shows_what_is_tested() {
    let page = include_str!("../README.md");
    let tested = include_str!("readme/only.rs");
    let pieces: Vec<&str> = page
        .split("\n```")
        .filter_map(|piece| piece.strip_prefix("rust"))
        .filter_map(|piece| piece.split_once('\n'))
        .map(|(_, code)| code)
        .collect();
    assert_eq!(pieces.len(), 2);
    for code in pieces {
        assert!(tested.contains(code), "{code}");
    }
}

//! Names, words and ids: the grammar's edges as data, round trips by property.

use expect_test::{Expect, expect};
use proptest::{prop_assert_eq, proptest};
use weir_wire::batch::Compression;
use weir_wire::error::ErrorCode;
use weir_wire::id::{Offset, PluginVersion, Sequence};
use weir_wire::name::{PluginName, TopicName};
use weir_wire::placement::OrderingKey;
use weir_wire::plugin::{ErrorPolicy, Hook};

proptest! {
    #[test]
    fn valid_names_print_as_they_parse(
        name in "([a-zA-Z0-9_-]{1,20}/)?[a-zA-Z0-9_-][a-zA-Z0-9._-]{0,228}",
    ) {
        let parsed: TopicName = name.parse().unwrap();
        prop_assert_eq!(parsed.to_string(), name.strip_prefix("default/").unwrap_or(&name));
        prop_assert_eq!(parsed.to_string().parse::<TopicName>().unwrap(), parsed);
    }

    #[test]
    fn any_text_is_a_name_or_an_error(text in ".{0,300}") {
        if let Ok(name) = text.parse::<PluginName>() {
            prop_assert_eq!(name.as_str(), text.as_str());
        }
        let _ = text.parse::<TopicName>();
    }
}

fn check(name: &str, expected: Expect) {
    let shown = match name.parse::<TopicName>() {
        Ok(name) => format!("{} + {}", name.namespace(), name.topic()),
        Err(error) => error.to_string(),
    };
    expected.assert_eq(&shown);
}

#[test]
fn topic_names() {
    check("flights", expect!["default + flights"]);
    check("default/flights", expect!["default + flights"]);
    check("air/flights-jfk", expect!["air + flights-jfk"]);
    check("", expect!["a name must not be empty"]);
    check("/flights", expect!["a name must not be empty"]);
    check("air/", expect!["a name must not be empty"]);
    check(
        "a/b/c",
        expect![[r#"the name "b/c" holds '/'; use letters, digits, '.', '_' and '-'"#]],
    );
    check(
        "flüge",
        expect![[r#"the name "flüge" holds 'ü'; use letters, digits, '.', '_' and '-'"#]],
    );
    check(
        "a\0",
        expect![[r#"the name "a\0" holds '\0'; use letters, digits, '.', '_' and '-'"#]],
    );
    check("..", expect![[r#"the name ".." is reserved"#]]);
    check("./x", expect![[r#"the name "." is reserved"#]]);
    check(
        &"x".repeat(250),
        expect![[r#"the name "xxxxxxxxxxxxxxxxxxxx"… is longer than 249 characters"#]],
    );
    assert!("x".repeat(249).parse::<TopicName>().is_ok());
}

#[test]
fn words_and_numbers_lead_back() {
    for hook in Hook::ALL {
        assert_eq!(hook.word().parse(), Ok(hook));
        assert_eq!(Hook::from_number(hook as u64), Some(hook));
        for policy in hook.policies() {
            assert_eq!(policy.word().parse(), Ok(*policy));
            assert_eq!(ErrorPolicy::from_number(*policy as u64), Some(*policy));
        }
    }
    for word in ["none", "gzip", "snappy", "lz4", "zstd"] {
        assert_eq!(word.parse::<Compression>().unwrap().to_string(), word);
    }
    assert!("brotli".parse::<Compression>().is_err());
    for &code in ErrorCode::ALL {
        assert_eq!(ErrorCode::from_number(code as u64), code);
    }
    assert_eq!(ErrorCode::from_number(65_535), ErrorCode::Internal);
    assert_eq!(
        (Hook::from_number(0), ErrorPolicy::from_number(0)),
        (None, None)
    );
}

#[test]
fn the_largest_numbers_do_not_overflow() {
    let last = Offset::new(u64::MAX);
    assert_eq!((last.next(), last.advance(7)), (last, last));
    assert_eq!(Sequence::new(4).next(), Sequence::new(5));
    assert_eq!(Offset::new(3).since(Offset::new(9)), 0);
}

#[test]
fn ordering_keys_are_xxh3_and_never_zero() {
    // XXH3-64 of no bytes, as the reference implementation states it.
    assert_eq!(OrderingKey::hash(b"").value(), 0x2d06_8005_38d3_94c2);
    assert_eq!(OrderingKey::NONE.partition(12), None);
    let key = OrderingKey::from_stored(25);
    assert_eq!(
        key.partition(12).map(|partition| partition.value()),
        Some(1)
    );
    assert_eq!(key.partition(0).map(|partition| partition.value()), Some(0));
}

#[test]
fn versions_are_shown_as_hex() {
    let mut digest = [0; 32];
    (digest[0], digest[5]) = (0xab, 0x01);
    let version = PluginVersion::new(digest);
    assert_eq!(version.short(), "ab0000000001");
    assert_eq!(version.to_string().len(), 64);
}

//! The field picker against examples, against every truncation of a text, and against noise.

use super::{Edit, Value, each_field, field, fields, quoted, rewrite};

fn text(body: &str, name: &str) -> Option<String> {
    field(body.as_bytes(), name)
        .unwrap()
        .map(|value| match value {
            Value::Null => "null".into(),
            Value::Bool(value) => format!("bool {value}"),
            Value::Number(number) => format!("number {number}"),
            Value::String(text) => format!("string {}", text.unescaped()),
            Value::Nested(nested) => format!("nested {nested}"),
        })
}

fn refused(body: &str) -> String {
    field(body.as_bytes(), "a").unwrap_err().to_string()
}

#[test]
fn picks_values_of_every_kind() {
    let body =
        r#" { "s" : "x" , "n":-1.5e+3,"t":true,"f":false,"z":null,"o":{"s":[1,{}]},"e":[] } "#;
    assert_eq!(text(body, "s").as_deref(), Some("string x"));
    assert_eq!(text(body, "n").as_deref(), Some("number -1.5e+3"));
    assert_eq!(text(body, "t").as_deref(), Some("bool true"));
    assert_eq!(text(body, "f").as_deref(), Some("bool false"));
    assert_eq!(text(body, "z").as_deref(), Some("null"));
    assert_eq!(text(body, "o").as_deref(), Some(r#"nested {"s":[1,{}]}"#));
    assert_eq!(text(body, "e").as_deref(), Some("nested []"));
    assert_eq!(text(body, "x"), None);
    assert_eq!(text("{}", "x"), None);
}

#[test]
fn a_field_inside_another_value_or_a_string_is_not_the_field() {
    assert_eq!(
        text(r#"{"o":{"a":1},"l":[{"a":2}],"s":"\"a\":3"}"#, "a"),
        None
    );
    assert_eq!(
        text(r#"{"o":{"a":1},"a":4}"#, "a").as_deref(),
        Some("number 4")
    );
}

#[test]
fn of_a_repeated_field_the_last_counts() {
    assert_eq!(
        text(r#"{"a":1,"a":"two"}"#, "a").as_deref(),
        Some("string two")
    );
}

#[test]
fn names_and_strings_are_unescaped() {
    assert_eq!(text(r#"{"\u0061":"x"}"#, "a").as_deref(), Some("string x"));
    assert_eq!(
        text(r#"{"a":"\"\\\/\b\f\n\r\t"}"#, "a").as_deref(),
        Some("string \"\\/\u{8}\u{c}\n\r\t")
    );
    assert_eq!(
        text(r#"{"a":"\u00e9\ud83d\ude00x"}"#, "a").as_deref(),
        Some("string é😀x")
    );
    assert_eq!(
        text(r#"{"a":"\ud83dx\udE00"}"#, "a").as_deref(),
        Some("string \u{fffd}x\u{fffd}")
    );
    assert_eq!(
        text(r#"{"a":"\ud83d\u0041"}"#, "a").as_deref(),
        Some("string \u{fffd}A")
    );
    assert_eq!(
        text(r#"{"a":"naïve"}"#, "a").as_deref(),
        Some("string naïve")
    );
}

#[test]
fn says_what_is_wrong_and_where() {
    let is = |body, what| {
        assert_eq!(
            refused(body),
            format!("the body is not a JSON object: {what}")
        );
    };
    is("", "something else than an object at byte 0");
    is("[1]", "something else than an object at byte 0");
    is("{", "something else than a string at byte 1");
    is(r#"{"a"}"#, "no colon after a field's name at byte 4");
    is(r#"{"a":}"#, "something that is no value at byte 5");
    is(r#"{"a":1,}"#, "something else than a string at byte 7");
    is(
        r#"{"a":01}"#,
        "neither a comma nor the end of the object at byte 6",
    );
    is(r#"{"a":1.}"#, "a number without digits at byte 7");
    is(r#"{"a":-}"#, "a number without digits at byte 6");
    is(r#"{"a":"x}"#, "a string without an end at byte 8");
    is(
        "{\"a\":\"x\n\"}",
        "a control character in a string at byte 7",
    );
    is(r#"{"a":"\x"}"#, "an unknown escape at byte 7");
    is(
        r#"{"a":"\u12g4"}"#,
        "an escape without four hex digits at byte 10",
    );
    is(
        r#"{"a":[1}"#,
        "neither a comma nor a closing bracket at byte 7",
    );
    is(r#"{"a":[1,]}"#, "something that is no value at byte 8");
    is(
        r#"{"a":{"b":1,}}"#,
        "something else than a string at byte 12",
    );
    is(r#"{"a":1} x"#, "text after the object at byte 8");
    assert_eq!(
        field(b"{\"a\":\"\xff\"}", "a").unwrap_err().to_string(),
        "the body is not a JSON object: text that is not UTF-8 at byte 6"
    );
}

#[test]
fn deep_nesting_is_refused_without_recursion() {
    let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    assert!(field(nested(128).as_bytes(), "a").is_ok());
    assert!(refused(&nested(129)).contains("nesting deeper"));
    assert!(refused(&nested(1_000_000)).contains("nesting deeper"));
}

#[test]
fn long_strings_end_where_they_end_at_every_alignment() {
    for length in 0..40 {
        let plain = "x".repeat(length);
        let body = format!("{{\"pad\":\"{plain}\",\"a\":\"{plain}\\n{plain}\"}}");
        assert_eq!(text(&body, "a"), Some(format!("string {plain}\n{plain}")));
    }
}

#[test]
fn no_prefix_of_a_body_is_accepted_and_no_flipped_byte_panics() {
    let body = r#"{"s":"a\u00e9\\b","n":-1.5e+3,"t":true,"o":{"s":[1,{"x":null}]},"a":"ende"}"#;
    for end in 0..body.len() {
        assert!(field(&body.as_bytes()[..end], "a").is_err(), "{end}");
    }
    for at in 0..body.len() {
        for byte in 0..=255 {
            let mut changed = body.as_bytes().to_vec();
            changed[at] = byte;
            let _ = field(&changed, "a").map(|value| value.map(Value::scalar));
        }
    }
}

fn rewritten(body: &str, edits: &[(&str, Edit<'static>)]) -> String {
    let mut changed = Vec::new();
    rewrite(body.as_bytes(), &mut changed, |name, _| {
        let edit = edits.iter().find(|(edited, _)| name.is(edited));
        edit.map_or(Edit::Keep, |(_, edit)| edit.clone())
    })
    .unwrap();
    String::from_utf8(changed).unwrap()
}

#[test]
fn several_fields_are_found_in_one_pass() {
    let body = br#"{"a":1,"b":"x","a":2}"#;
    let [b, a, none] = fields(body, ["b", "a", "c"]).unwrap();
    assert!(matches!(b, Some(Value::String(text)) if text.is("x")));
    assert_eq!((a, none), (Some(Value::Number("2")), None));
    let mut names = Vec::new();
    each_field(body, |name, _| names.push(name.unescaped().into_owned())).unwrap();
    assert_eq!(names, ["a", "b", "a"]);
    assert!(fields(b"{\"a\":1", ["a"]).is_err());
}

#[test]
fn values_are_replaced_where_they_stand() {
    let mask = || Edit::Replace("\"***\"".into());
    let body = r#" { "a" : "x" , "b":[1, {"a":2}],"a":null } "#;
    assert_eq!(
        rewritten(body, &[("a", mask())]),
        r#" { "a" : "***" , "b":[1, {"a":2}],"a":"***" } "#
    );
    assert_eq!(
        rewritten(body, &[("b", mask())]),
        r#" { "a" : "x" , "b":"***","a":null } "#
    );
    assert_eq!(rewritten(body, &[]), body);
    assert_eq!(rewritten("{ }", &[("a", mask())]), "{ }");
    assert_eq!(
        rewritten(r#"{"\u0061":1}"#, &[("a", mask())]),
        r#"{"\u0061":"***"}"#
    );
}

#[test]
fn a_field_that_goes_takes_its_comma_along() {
    let body = r#"{ "a":1, "b":2 , "c":3 }"#;
    let without = |names: &[&'static str]| {
        let edits: Vec<_> = names.iter().map(|name| (*name, Edit::Remove)).collect();
        let left = rewritten(body, &edits);
        let gone = |name: &&str| field(left.as_bytes(), name).unwrap().is_none();
        assert!(names.iter().all(gone), "{left}");
        left
    };
    assert_eq!(without(&["a"]), r#"{ "b":2 , "c":3 }"#);
    assert_eq!(without(&["b"]), r#"{ "a":1 , "c":3 }"#);
    assert_eq!(without(&["c"]), r#"{ "a":1, "b":2 }"#);
    assert_eq!(without(&["a", "b"]), r#"{ "c":3 }"#);
    assert_eq!(without(&["a", "c"]), r#"{ "b":2 }"#);
    assert_eq!(without(&["b", "c"]), r#"{ "a":1 }"#);
    assert_eq!(without(&["a", "b", "c"]), "{ }");
    assert_eq!(
        rewritten(
            body,
            &[("a", Edit::Remove), ("b", Edit::Replace("0".into()))]
        ),
        r#"{ "b":0 , "c":3 }"#
    );
    assert_eq!(
        rewritten(
            body,
            &[("a", Edit::Replace("0".into())), ("b", Edit::Remove)]
        ),
        r#"{ "a":0 , "c":3 }"#
    );
}

#[test]
fn what_is_rewritten_is_json_again_whatever_the_edits() {
    let body = r#"{"a":"x","b":{"c":[1,2]},"d":null,"a":false}"#;
    let names = ["a", "b", "d"];
    let edits = [Edit::Keep, Edit::Replace("[]".into()), Edit::Remove];
    for choice in 0..27 {
        let chosen = [choice % 3, choice / 3 % 3, choice / 9];
        let edits: Vec<_> = names
            .iter()
            .zip(chosen)
            .map(|(name, edit)| (*name, edits[edit].clone()))
            .collect();
        let left = rewritten(body, &edits);
        for (name, edit) in &edits {
            let value = field(left.as_bytes(), name).unwrap();
            match edit {
                Edit::Keep => assert_eq!(value, field(body.as_bytes(), name).unwrap()),
                Edit::Replace(_) => assert_eq!(value, Some(Value::Nested("[]"))),
                Edit::Remove => assert_eq!(value, None, "{left}"),
            }
        }
    }
}

#[test]
fn quoted_texts_are_read_back() {
    for original in ["", "plain", "a\"b\\c\n\r\t\u{1}\u{1f}", "é😀"] {
        let body = format!("{{\"a\":{}}}", quoted(original));
        assert_eq!(text(&body, "a"), Some(format!("string {original}")));
    }
}

//! A condition like `dep_delay > 15`: parsing it, and comparing a JSON value with it. What
//! `json-filter` and `fan-out-route` share; it is no plugin itself.
//!
//! A field, one of `< <= = != >= >`, and a number, 'text', "text", true or false. Null, a missing
//! field and a value of another type never match, whatever the operator.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use weir_plugin::json::Value;

/// A field, an operator and a literal.
#[derive(Debug)]
pub struct Condition {
    field: String,
    operator: Operator,
    literal: Literal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Less,
    LessOrEqual,
    Equal,
    NotEqual,
    GreaterOrEqual,
    Greater,
}

#[derive(Debug)]
enum Literal {
    Number(Number),
    Text(String),
    Bool(bool),
}

/// Whole numbers keep all their digits; a double would take 2⁵³ + 1 for 2⁵³.
#[derive(Clone, Copy, Debug)]
enum Number {
    Whole(i128),
    Real(f64),
}

impl Condition {
    /// The field that is compared.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }

    /// Whether the field's value fulfils the condition.
    #[inline]
    #[must_use]
    pub fn matches(&self, value: Value<'_>) -> bool {
        let ordering = match (&self.literal, value) {
            (Literal::Number(literal), Value::Number(text)) => {
                Number::parse(text).and_then(|number| number.compare(*literal))
            }
            (Literal::Text(literal), Value::String(text)) => {
                Some(text.unescaped().as_ref().cmp(literal.as_str()))
            }
            (Literal::Bool(literal), Value::Bool(value)) => Some(value.cmp(literal)),
            _ => None,
        };
        ordering.is_some_and(|ordering| self.operator.accepts(ordering))
    }
}

impl Operator {
    /// Longer ones first: `<=` must not be read as `<`.
    const WRITTEN: [(&str, Self); 6] = [
        ("<=", Self::LessOrEqual),
        (">=", Self::GreaterOrEqual),
        ("!=", Self::NotEqual),
        ("<", Self::Less),
        (">", Self::Greater),
        ("=", Self::Equal),
    ];

    fn accepts(self, ordering: Ordering) -> bool {
        match self {
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
            Self::Equal => ordering.is_eq(),
            Self::NotEqual => ordering.is_ne(),
            Self::GreaterOrEqual => ordering.is_ge(),
            Self::Greater => ordering.is_gt(),
        }
    }
}

impl Number {
    fn parse(text: &str) -> Option<Self> {
        match text.parse() {
            Ok(whole) => Some(Self::Whole(whole)),
            Err(_) => text
                .parse()
                .ok()
                .filter(|real: &f64| !real.is_nan())
                .map(Self::Real),
        }
    }

    fn compare(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Whole(one), Self::Whole(other)) => Some(one.cmp(&other)),
            (one, other) => one.real().partial_cmp(&other.real()),
        }
    }

    fn real(self) -> f64 {
        match self {
            Self::Whole(whole) => whole as f64,
            Self::Real(real) => real,
        }
    }
}

/// Why a condition is not understood.
#[derive(Debug, PartialEq, Eq)]
pub struct ConditionError(String);

impl fmt::Display for ConditionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}; write for example dep_delay > 15 or carrier = 'UA'",
            self.0
        )
    }
}

impl std::error::Error for ConditionError {}

impl FromStr for Condition {
    type Err = ConditionError;

    fn from_str(text: &str) -> Result<Self, ConditionError> {
        let (field, rest) = split_field(text.trim())?;
        let (operator, rest) = split_operator(rest).ok_or_else(|| {
            ConditionError("after the field comes one of < <= = != >= >".to_owned())
        })?;
        let literal = Literal::parse(rest.trim(), field)?;
        Ok(Self {
            field: field.to_owned(),
            operator,
            literal,
        })
    }
}

/// The field: a quoted name, or everything before the operator.
fn split_field(text: &str) -> Result<(&str, &str), ConditionError> {
    if let Some(quoted) = text.strip_prefix('"') {
        return quoted
            .split_once('"')
            .ok_or_else(|| ConditionError("a quote is not closed".to_owned()));
    }
    let end = text.find(['<', '>', '=', '!']).unwrap_or(text.len());
    let (field, rest) = text.split_at(end);
    if field.trim().is_empty() {
        return Err(ConditionError("no field is named".to_owned()));
    }
    Ok((field.trim(), rest))
}

fn split_operator(text: &str) -> Option<(Operator, &str)> {
    let text = text.trim_start();
    Operator::WRITTEN
        .iter()
        .find_map(|(written, operator)| Some((*operator, text.strip_prefix(written)?)))
}

impl Literal {
    fn parse(text: &str, field: &str) -> Result<Self, ConditionError> {
        if text.is_empty() {
            return Err(ConditionError(format!("nothing to compare `{field}` with")));
        }
        for quote in ['\'', '"'] {
            if let Some(inner) = text.strip_prefix(quote) {
                let inner = inner
                    .strip_suffix(quote)
                    .filter(|inner| !inner.contains(quote));
                let inner = inner
                    .ok_or_else(|| ConditionError(format!("{text} is not one quoted text")))?;
                return Ok(Self::Text(inner.to_owned()));
            }
        }
        let numeric = text.starts_with(|first: char| first == '-' || first.is_ascii_digit());
        match text {
            "true" => Ok(Self::Bool(true)),
            "false" => Ok(Self::Bool(false)),
            _ if numeric => Number::parse(text)
                .map(Self::Number)
                .ok_or_else(|| ConditionError(format!("{text} is not a number"))),
            _ => Err(ConditionError(format!(
                "`{text}` is neither a number nor a quoted text"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Condition;
    use weir_plugin::json;

    fn matches(condition: &str, body: &str) -> bool {
        let condition: Condition = condition.parse().unwrap();
        let value = json::field(body.as_bytes(), condition.field()).unwrap();
        condition.matches(value.unwrap())
    }

    #[test]
    fn every_operator_compares_numbers() {
        for (operator, expected) in [
            ("<", [true, false, false]),
            ("<=", [true, true, false]),
            ("=", [false, true, false]),
            ("!=", [true, false, true]),
            (">=", [false, true, true]),
            (">", [false, false, true]),
        ] {
            let bodies = [r#"{"d":14.5}"#, r#"{"d":15}"#, r#"{"d":1.6e1}"#];
            for spaced in [format!("d {operator} 15"), format!("d{operator}15")] {
                assert_eq!(
                    bodies.map(|body| matches(&spaced, body)),
                    expected,
                    "{spaced}"
                );
            }
        }
        assert!(matches("d = -0.5", r#"{"d":-5e-1}"#));
    }

    #[test]
    fn large_whole_numbers_are_exact() {
        assert!(!matches(
            "d = 9007199254740992",
            r#"{"d":9007199254740993}"#
        ));
        assert!(matches("d > 9007199254740992", r#"{"d":9007199254740993}"#));
        assert!(matches("d > 1", &format!("{{\"d\":1{}}}", "0".repeat(300))));
    }

    #[test]
    fn texts_and_truth_values_compare() {
        assert!(matches("c = 'UA'", r#"{"c":"UA"}"#));
        assert!(matches("c = \"UA\"", r#"{"c":"\u0055A"}"#));
        assert!(matches("c != 'UA'", r#"{"c":"DL"}"#));
        assert!(matches("c < 'B'", r#"{"c":"Aa"}"#));
        assert!(matches("\"my field\" = ''", r#"{"my field":""}"#));
        assert!(matches("b = true", r#"{"b":true}"#));
        assert!(!matches("b != true", r#"{"b":true}"#));
    }

    #[test]
    fn null_and_other_types_never_match() {
        for condition in ["d = 1", "d != 1", "d != 'x'", "d != true"] {
            assert!(!matches(condition, r#"{"d":null}"#), "{condition}");
            assert!(!matches(condition, r#"{"d":[1]}"#), "{condition}");
        }
        assert!(!matches("d != 1", r#"{"d":"1"}"#));
        assert!(!matches("d != '1'", r#"{"d":1}"#));
    }

    #[test]
    fn says_what_is_wrong() {
        let error = |text: &str| text.parse::<Condition>().unwrap_err().0;
        assert_eq!(error(""), "no field is named");
        assert_eq!(error("> 15"), "no field is named");
        assert_eq!(error("d"), "after the field comes one of < <= = != >= >");
        assert_eq!(
            error("d ! 1"),
            "after the field comes one of < <= = != >= >"
        );
        assert_eq!(error("d >"), "nothing to compare `d` with");
        assert_eq!(
            error("d > UA"),
            "`UA` is neither a number nor a quoted text"
        );
        assert_eq!(error("d > 1x"), "1x is not a number");
        assert_eq!(error("d > 'a' or 'b'"), "'a' or 'b' is not one quoted text");
        assert_eq!(error("\"d > 1"), "a quote is not closed");
    }
}

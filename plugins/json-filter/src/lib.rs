//! `json-filter`: compares a top-level field of a JSON body with a literal. Config
//! `where=dep_delay > 15`; operators `< <= = != >= >`, literals numbers, 'text', "text", true and
//! false. Null, a missing field and a value of another type never match, whatever the operator. A
//! body that is not a JSON object is an error of its record.

use condition::Condition;
use weir_plugin::{Columns, Config, Error, Filter, Record, json};

struct JsonFilter {
    condition: Condition,
}

impl Filter for JsonFilter {
    fn configure(config: &Config, columns: &mut Columns) -> Result<Self, Error> {
        columns.value();
        Ok(Self {
            condition: config.parse("where")?,
        })
    }

    fn keep(&self, record: Record<'_>) -> Result<bool, Error> {
        let body = record
            .value()
            .ok_or_else(|| Error::new("the record has no body"))?;
        let value = json::field(body, self.condition.field())?;
        Ok(value.is_some_and(|value| self.condition.matches(value)))
    }
}

weir_plugin::export! { filter: JsonFilter }

#[cfg(test)]
mod tests {
    use super::JsonFilter;
    use weir_plugin::testing::{Sample, filter, value};

    #[test]
    fn keeps_what_matches() {
        let plugin = filter::<JsonFilter>(&[("where", "dep_delay > 15")]).unwrap();
        let keep = |body: &str| plugin.keep(value(body)).unwrap();
        assert!(keep(r#"{"dep_delay":16}"#));
        assert!(!keep(r#"{"dep_delay":15}"#));
        assert!(!keep(r#"{"dep_delay":null}"#));
        assert!(!keep(r#"{"other":16}"#));
        assert!(!keep(r#"{"nested":{"dep_delay":16}}"#));
    }

    #[test]
    fn a_body_that_is_no_object_is_an_error() {
        let plugin = filter::<JsonFilter>(&[("where", "a = 1")]).unwrap();
        assert!(plugin.keep(value("{\"a\":1")).is_err());
        assert!(plugin.keep(value("17")).is_err());
        assert_eq!(
            plugin.keep(Sample::new()).unwrap_err().message(),
            "the record has no body"
        );
    }

    #[test]
    fn the_person_who_binds_reads_what_is_wrong() {
        let error = filter::<JsonFilter>(&[("where", "dep_delay >")])
            .map(drop)
            .unwrap_err();
        assert_eq!(
            error.message(),
            "setting `where=dep_delay >` is not understood: nothing to compare `dep_delay` with; \
             write for example dep_delay > 15 or carrier = 'UA'"
        );
    }
}

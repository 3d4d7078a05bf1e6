//! `mask-view`: hides parts of records. As a projection it changes what a subscriber sees, as a
//! transform what is stored: one component, two hooks. Settings, all optional, but one is needed:
//!
//! - `mask=tailnum,name`: the values of these fields of a JSON body become `"***"`; null stays
//!   null.
//! - `remove=secret`: these fields go altogether.
//! - `remove_header=trace,user`: these headers go.
//!
//! With `mask` or `remove`, a body that is not a JSON object is an error of its record; a tombstone
//! has nothing to hide.

use serde::Deserialize;
use std::borrow::Cow;
use weir_plugin::json::{self, Edit, Text, Value};
use weir_plugin::{Columns, Config, Error, Output, Outputs, Project, Record, Transform, View};

const MASK: &str = "\"***\"";

#[derive(Deserialize)]
struct MaskView {
    #[serde(default)]
    mask: Vec<String>,
    #[serde(default)]
    remove: Vec<String>,
    #[serde(default)]
    remove_header: Vec<String>,
}

impl MaskView {
    fn new(config: &Config, columns: &mut Columns) -> Result<Self, Error> {
        let plugin: Self = config.typed()?;
        if plugin.changes_bodies() {
            columns.value();
        } else if plugin.remove_header.is_empty() {
            return Err(Error::new(
                "bind with at least one of mask=FIELD, remove=FIELD, remove_header=NAME",
            ));
        }
        Ok(plugin)
    }

    fn changes_bodies(&self) -> bool {
        !self.mask.is_empty() || !self.remove.is_empty()
    }

    fn hide(&self, record: Record<'_>, output: &mut Output<'_>) -> Result<(), Error> {
        if self.changes_bodies()
            && let Some(body) = record.value()
        {
            output.write_value(|buffer| {
                json::rewrite(body, buffer, |name, value| self.edit(name, value))
            })?;
        }
        for header in &self.remove_header {
            output.remove_header(header);
        }
        Ok(())
    }

    fn edit(&self, name: Text<'_>, value: Value<'_>) -> Edit<'static> {
        let is_one_of = |fields: &[String]| fields.iter().any(|field| name.is(field));
        if is_one_of(&self.remove) {
            Edit::Remove
        } else if value != Value::Null && is_one_of(&self.mask) {
            Edit::Replace(Cow::Borrowed(MASK))
        } else {
            Edit::Keep
        }
    }
}

impl Project for MaskView {
    fn configure(config: &Config, columns: &mut Columns) -> Result<Self, Error> {
        Self::new(config, columns)
    }

    fn project(&self, record: Record<'_>, view: &mut View<'_>) -> Result<(), Error> {
        self.hide(record, view)
    }
}

impl Transform for MaskView {
    fn configure(config: &Config, columns: &mut Columns) -> Result<Self, Error> {
        Self::new(config, columns)
    }

    fn transform(&self, record: Record<'_>, out: &mut Outputs) -> Result<(), Error> {
        self.hide(record, &mut out.push(record))
    }
}

weir_plugin::export! { project: MaskView, transform: MaskView }

#[cfg(test)]
mod tests {
    use super::MaskView;
    use weir_plugin::testing::{Sample, Transformed, project, transform, value};

    #[test]
    fn hides_the_same_when_read_and_when_stored() {
        let settings = [
            ("mask", "name, born"),
            ("remove", "secret"),
            ("remove_header", "trace"),
        ];
        let view = project::<MaskView>(&settings).unwrap();
        let store = transform::<MaskView>(&settings).unwrap();
        for (sample, seen) in [
            (
                value(r#"{"name":"Ann","secret":1,"born":null,"id":7}"#)
                    .key("k")
                    .header("trace", "1")
                    .header("tag", "UA")
                    .header("trace", "2"),
                value(r#"{"name":"***","born":null,"id":7}"#)
                    .key("k")
                    .header("tag", "UA"),
            ),
            (value("{}"), value("{}")),
            (
                Sample::new().key("tombstone"),
                Sample::new().key("tombstone"),
            ),
        ] {
            assert_eq!(view.project(sample.clone()).unwrap(), seen);
            let stored = store.transform(sample).unwrap();
            assert_eq!(stored, Transformed::Outputs(vec![seen]));
        }
        assert!(view.project(value("no object")).is_err());
    }

    #[test]
    fn headers_alone_need_no_body() {
        let view = project::<MaskView>(&[("remove_header", "trace")]).unwrap();
        let seen = view
            .project(value("no object").header("trace", "1"))
            .unwrap();
        assert_eq!(seen, value("no object"));
    }

    #[test]
    fn refuses_to_hide_nothing() {
        let error = project::<MaskView>(&[]).map(drop).unwrap_err();
        assert!(
            error
                .message()
                .starts_with("bind with at least one of mask=FIELD")
        );
    }
}

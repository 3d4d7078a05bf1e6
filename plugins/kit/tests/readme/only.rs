//! Delivers the records whose header `tag` is the one that the subscriber asks for.

use weir_plugin::{Columns, Config, Error, Filter, Record};

struct Only(String);

impl Filter for Only {
    fn configure(config: &Config, columns: &mut Columns) -> Result<Self, Error> {
        columns.header("tag");
        Ok(Self(config.require("tag")?.to_owned()))
    }

    fn keep(&self, record: Record<'_>) -> Result<bool, Error> {
        Ok(record.header("tag") == Some(self.0.as_bytes()))
    }
}

weir_plugin::export! { filter: Only }

#[cfg(test)]
mod tests {
    use super::Only;
    use weir_plugin::testing::{Sample, filter};

    #[test]
    fn keeps_records_with_the_tag() {
        let plugin = filter::<Only>(&[("tag", "UA")]).unwrap();
        assert!(plugin.keep(Sample::new().header("tag", "UA")).unwrap());
        assert!(!plugin.keep(Sample::new()).unwrap());
    }
}

//! `{{name}}`: keeps the records whose header `tag` is the setting `tag`.

use weir_plugin::{Columns, Config, Error, Filter, Record};

struct Plugin {
    tag: String,
}

impl Filter for Plugin {
    fn configure(config: &Config, columns: &mut Columns) -> Result<Self, Error> {
        // Only the columns that are asked for here are copied into the plugin.
        columns.header("tag");
        Ok(Self {
            tag: config.require("tag")?.to_owned(),
        })
    }

    fn keep(&self, record: Record<'_>) -> Result<bool, Error> {
        Ok(record.header("tag") == Some(self.tag.as_bytes()))
    }
}

weir_plugin::export! { filter: Plugin }

#[cfg(test)]
mod tests {
    use super::Plugin;
    use weir_plugin::testing::{Sample, filter};

    #[test]
    fn keeps_records_with_the_tag() {
        let plugin = filter::<Plugin>(&[("tag", "UA")]).unwrap();
        assert!(plugin.keep(Sample::new().header("tag", "UA")).unwrap());
        assert!(!plugin.keep(Sample::new().header("tag", "DL")).unwrap());
        assert!(!plugin.keep(Sample::new()).unwrap());
    }

    #[test]
    fn refuses_settings_that_it_does_not_know() {
        assert!(filter::<Plugin>(&[]).is_err());
        assert!(filter::<Plugin>(&[("tag", "UA"), ("tags", "DL")]).is_err());
    }
}

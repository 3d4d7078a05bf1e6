//! A filter that keeps records whose key begins with the setting `prefix`.

use weir_plugin::{Columns, Config, Error, Filter, Record};

/// The prefix.
pub struct KeyPrefix(String);

impl Filter for KeyPrefix {
    fn configure(config: &Config, columns: &mut Columns) -> Result<Self, Error> {
        columns.key();
        Ok(Self(config.require("prefix")?.to_owned()))
    }

    fn keep(&self, record: Record<'_>) -> Result<bool, Error> {
        Ok(record
            .key()
            .is_some_and(|key| key.starts_with(self.0.as_bytes())))
    }
}

weir_plugin::export! { filter: KeyPrefix }

//! `record-key`: the ordering key is the record's own key, for chains whose transform has set it,
//! and for producers that give a key but no order. No settings.

use std::borrow::Cow;
use weir_plugin::{Batch, Columns, Config, Error, Key, Keys, Record};

struct RecordKey;

impl Key for RecordKey {
    fn configure(_: &Config, columns: &mut Columns) -> Result<Self, Error> {
        columns.key();
        Ok(Self)
    }

    fn key<'a>(&'a self, record: Record<'a>) -> Result<Option<Cow<'a, [u8]>>, Error> {
        Ok(record.key().map(Cow::Borrowed))
    }

    // The same for a whole batch, where the column is looked up once and not for each record.
    fn keys(&self, batch: &Batch<'_>, keys: &mut Keys<'_>) -> Result<(), Error> {
        keys.extend(batch.keys());
        Ok(())
    }
}

weir_plugin::export! { key: RecordKey }

#[cfg(test)]
mod tests {
    use super::RecordKey;
    use weir_plugin::testing::{Sample, key, value};

    #[test]
    fn the_key_is_the_key() {
        let plugin = key::<RecordKey>(&[]).unwrap();
        let of = |sample| plugin.key(sample).unwrap();
        assert_eq!(
            of(Sample::new().key("N14228")).as_deref(),
            Some(&b"N14228"[..])
        );
        assert_eq!(of(Sample::new().key("")).as_deref(), Some(&b""[..]));
        assert_eq!(of(value("no key")), None);
        let samples = [Sample::new().key("N14228"), value("no key")];
        let keys = [Some(b"N14228".to_vec()), None];
        assert_eq!(plugin.key_all(&samples).unwrap(), keys);
    }
}

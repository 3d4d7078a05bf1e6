//! `upper-case`: the ASCII letters of every value in upper case. No settings. It reads and writes
//! every byte, so it shows what a transform costs.

use weir_plugin::{Batch, Columns, Config, Error, Outputs, Record, Transform};

struct UpperCase;

impl Transform for UpperCase {
    fn configure(_: &Config, columns: &mut Columns) -> Result<Self, Error> {
        columns.value();
        Ok(Self)
    }

    fn transform(&self, record: Record<'_>, out: &mut Outputs) -> Result<(), Error> {
        change(record, record.value(), out);
        Ok(())
    }

    // The same for a whole batch, where the column is looked up once and not for each record.
    fn transform_batch(&self, batch: &Batch<'_>, out: &mut Outputs) -> Result<(), Error> {
        for (record, value) in batch.iter().zip(batch.values()) {
            change(record, value, out);
        }
        Ok(())
    }
}

#[inline]
fn change(record: Record<'_>, value: Option<&[u8]>, out: &mut Outputs) {
    let mut output = out.push(record);
    if let Some(value) = value {
        output.write_value(|buffer| buffer.push_mapped(value, |byte| byte.to_ascii_uppercase()));
    }
}

weir_plugin::export! { transform: UpperCase }

#[cfg(test)]
mod tests {
    use super::UpperCase;
    use weir_plugin::testing::{Sample, Transformed, transform, value};

    #[test]
    fn changes_letters_and_nothing_else() {
        let plugin = transform::<UpperCase>(&[]).unwrap();
        let samples = [
            value("abcXYZ é1").key("k").header("h", "v"),
            Sample::new().key("tombstone"),
            value(""),
        ];
        let expected = [
            value("ABCXYZ é1").key("k").header("h", "v"),
            Sample::new().key("tombstone"),
            value(""),
        ]
        .map(|sample| Transformed::Outputs(vec![sample]));
        assert_eq!(plugin.transform_all(&samples).unwrap(), expected);
        for (sample, expected) in samples.into_iter().zip(expected) {
            assert_eq!(plugin.transform(sample).unwrap(), expected);
        }
    }
}

//! `tag-filter`: RocketMQ's tag expression on the `tag` header. Config `tags=UA || DL`; `*` is
//! every record, with a tag or without.

use weir_plugin::{Batch, Columns, Config, Error, Filter, Record, equal};

enum TagFilter {
    All,
    AnyOf(Vec<String>),
}

impl Filter for TagFilter {
    fn configure(config: &Config, columns: &mut Columns) -> Result<Self, Error> {
        let expression = config.require("tags")?;
        let tags: Vec<&str> = expression.split("||").map(str::trim).collect();
        if tags.contains(&"") {
            return Err(Error::new(format!(
                "setting `tags={expression}` has an empty tag: write tags=A || B, or tags=* for all"
            )));
        }
        if tags.contains(&"*") {
            return Ok(Self::All);
        }
        columns.header("tag");
        Ok(Self::AnyOf(tags.into_iter().map(str::to_owned).collect()))
    }

    fn keep(&self, record: Record<'_>) -> Result<bool, Error> {
        Ok(self.all() || self.matches(record.header("tag")))
    }

    // The same for a whole batch, where the column is looked up once and not for each record.
    fn filter(&self, batch: &Batch<'_>) -> Result<Vec<bool>, Error> {
        if self.all() {
            return Ok(vec![true; batch.len()]);
        }
        Ok(batch.header("tag").map(|tag| self.matches(tag)).collect())
    }
}

impl TagFilter {
    fn all(&self) -> bool {
        matches!(self, Self::All)
    }

    fn matches(&self, tag: Option<&[u8]>) -> bool {
        let (Self::AnyOf(tags), Some(tag)) = (self, tag) else {
            return false;
        };
        tags.iter().any(|wanted| equal(wanted.as_bytes(), tag))
    }
}

weir_plugin::export! { filter: TagFilter }

#[cfg(test)]
mod tests {
    use super::TagFilter;
    use weir_plugin::testing::{Sample, filter};

    fn keeps(tags: &str) -> Vec<bool> {
        let plugin = filter::<TagFilter>(&[("tags", tags)]).unwrap();
        let tagged = ["UA", "DL", "ua", "U", ""].map(|tag| Sample::new().header("tag", tag));
        let samples = tagged.into_iter().chain([Sample::new()]);
        samples.map(|sample| plugin.keep(sample).unwrap()).collect()
    }

    #[test]
    fn keeps_records_with_one_of_the_tags() {
        assert_eq!(keeps("UA"), [true, false, false, false, false, false]);
        assert_eq!(keeps("UA || DL"), [true, true, false, false, false, false]);
        assert_eq!(
            keeps("UA||DL||UA"),
            [true, true, false, false, false, false]
        );
    }

    #[test]
    fn a_star_keeps_everything() {
        assert_eq!(keeps("*"), [true; 6]);
        assert_eq!(keeps("UA || *"), [true; 6]);
    }

    #[test]
    fn refuses_expressions_without_a_meaning() {
        for tags in ["", "UA ||", "|| UA", "UA || || DL"] {
            let error = filter::<TagFilter>(&[("tags", tags)])
                .map(drop)
                .unwrap_err();
            assert!(
                error.message().contains("has an empty tag"),
                "{tags}: {error}"
            );
        }
        let error = filter::<TagFilter>(&[]).map(drop).unwrap_err();
        assert!(
            error.message().contains("setting `tags` is missing"),
            "{error}"
        );
    }
}

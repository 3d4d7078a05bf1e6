//! The hook `filter`.

use crate::{Batch, Columns, Config, Error, Record};

/// Keeps or drops records on their way to a subscriber: only what is kept crosses the network.
///
/// ```
/// use weir_plugin::{Columns, Config, Error, Filter, Record};
///
/// /// Keeps records whose value is at most so many bytes long.
/// struct AtMost(usize);
///
/// impl Filter for AtMost {
///     fn configure(config: &Config, columns: &mut Columns) -> Result<Self, Error> {
///         columns.value();
///         Ok(Self(config.parse("bytes")?))
///     }
///
///     fn keep(&self, record: Record<'_>) -> Result<bool, Error> {
///         Ok(record.value().is_none_or(|value| value.len() <= self.0))
///     }
/// }
///
/// weir_plugin::export! { filter: AtMost }
///
/// # fn main() -> Result<(), Error> {
/// use weir_plugin::testing;
/// let plugin = testing::filter::<AtMost>(&[("bytes", "3")])?;
/// assert!(plugin.keep(testing::value("abc"))?);
/// assert!(!plugin.keep(testing::value("abcd"))?);
/// # Ok(())
/// # }
/// ```
pub trait Filter: Sized + 'static {
    /// Reads the settings and asks for the columns that [`keep`](Self::keep) reads.
    ///
    /// # Errors
    /// If the settings make no sense; the message reaches the person who subscribes.
    fn configure(config: &Config, columns: &mut Columns) -> Result<Self, Error>;

    /// Whether the record is delivered.
    ///
    /// # Errors
    /// If it cannot be judged; the subscription's error policy then decides about this record
    /// alone.
    fn keep(&self, record: Record<'_>) -> Result<bool, Error>;

    /// Judges a whole batch, one verdict per record. Implement it only to share work between
    /// records, such as looking a column up once ([`Batch::header`]).
    ///
    /// # Errors
    /// If any record cannot be judged; the host finds out which.
    fn filter(&self, batch: &Batch<'_>) -> Result<Vec<bool>, Error> {
        let mut verdicts = Vec::with_capacity(batch.len());
        for record in batch {
            verdicts.push(self.keep(record)?);
        }
        Ok(verdicts)
    }
}

//! The hook `key`.

use crate::{Batch, Columns, Config, Error, Keys, Record};
use std::borrow::Cow;

/// Chooses what records are ordered by: those with an equal key stay in order.
///
/// ```
/// use std::borrow::Cow;
/// use weir_plugin::{Columns, Config, Error, Key, Record};
///
/// /// The first word of the value.
/// struct FirstWord;
///
/// impl Key for FirstWord {
///     fn configure(_: &Config, columns: &mut Columns) -> Result<Self, Error> {
///         columns.value();
///         Ok(Self)
///     }
///
///     fn key<'a>(&'a self, record: Record<'a>) -> Result<Option<Cow<'a, [u8]>>, Error> {
///         let first = |value: &'a [u8]| value.split(|byte| *byte == b' ').next();
///         Ok(record.value().and_then(first).map(Cow::Borrowed))
///     }
/// }
///
/// weir_plugin::export! { key: FirstWord }
///
/// # fn main() -> Result<(), Error> {
/// use weir_plugin::testing;
/// let plugin = testing::key::<FirstWord>(&[])?;
/// assert_eq!(plugin.key(testing::value("N14228 left"))?.as_deref(), Some(&b"N14228"[..]));
/// assert_eq!(plugin.key(testing::Sample::new())?, None);
/// # Ok(())
/// # }
/// ```
pub trait Key: Sized + 'static {
    /// Reads the settings and asks for the columns that [`key`](Self::key) reads.
    ///
    /// # Errors
    /// If the settings make no sense; the message reaches the person who binds.
    fn configure(config: &Config, columns: &mut Columns) -> Result<Self, Error>;

    /// The bytes of the ordering key, or `None` for a record that needs no order. A slice of the
    /// record costs no copy.
    ///
    /// # Errors
    /// If it cannot be told; the binding's error policy then decides about this record alone.
    fn key<'a>(&'a self, record: Record<'a>) -> Result<Option<Cow<'a, [u8]>>, Error>;

    /// Gives a whole batch its keys, one for each record. Implement it only to share work between
    /// records, such as looking a column up once ([`Batch::keys`]).
    ///
    /// # Errors
    /// If any key cannot be told; the host finds out which.
    fn keys(&self, batch: &Batch<'_>, keys: &mut Keys<'_>) -> Result<(), Error> {
        for record in batch {
            keys.push(self.key(record)?.as_deref());
        }
        Ok(())
    }
}

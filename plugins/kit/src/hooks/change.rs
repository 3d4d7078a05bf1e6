//! The hooks that change records: `transform` before they are stored, `project` before they are
//! delivered.

use crate::{Batch, Columns, Config, Error, Outputs, Record, View};

/// Changes records before they are stored: each becomes none, one or several, or is rejected with a
/// reason that its producer reads.
///
/// ```
/// use weir_plugin::{Columns, Config, Error, Outputs, Record, Transform};
///
/// /// One record per line, each with its number; a record without text is refused.
/// struct Lines;
///
/// impl Transform for Lines {
///     fn configure(_: &Config, columns: &mut Columns) -> Result<Self, Error> {
///         columns.value();
///         Ok(Self)
///     }
///
///     fn transform(&self, record: Record<'_>, out: &mut Outputs) -> Result<(), Error> {
///         let Some(text) = record.value() else {
///             out.reject(record, "there is no text to split");
///             return Ok(());
///         };
///         for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
///             out.push(record).value(line).header("line", number.to_string());
///         }
///         Ok(())
///     }
/// }
///
/// weir_plugin::export! { transform: Lines }
///
/// # fn main() -> Result<(), Error> {
/// use weir_plugin::testing::{self, Sample, Transformed};
/// let plugin = testing::transform::<Lines>(&[])?;
/// assert_eq!(
///     plugin.transform(testing::value("one\ntwo").key("k"))?,
///     Transformed::Outputs(vec![
///         Sample::new().key("k").value("one").header("line", "0"),
///         Sample::new().key("k").value("two").header("line", "1"),
///     ])
/// );
/// assert_eq!(
///     plugin.transform(Sample::new())?,
///     Transformed::Rejected("there is no text to split".to_owned())
/// );
/// # Ok(())
/// # }
/// ```
pub trait Transform: Sized + 'static {
    /// Reads the settings and asks for the columns that [`transform`](Self::transform) reads. What
    /// it only passes on or replaces it need not ask for.
    ///
    /// # Errors
    /// If the settings make no sense; the message reaches the person who binds.
    fn configure(config: &Config, columns: &mut Columns) -> Result<Self, Error>;

    /// What becomes of the record: [`Outputs::keep`], [`Outputs::push`] as often as there shall be
    /// records, [`Outputs::reject`], or nothing at all, which drops it.
    ///
    /// # Errors
    /// If it cannot be told; the binding's error policy then decides about this record alone.
    fn transform(&self, record: Record<'_>, out: &mut Outputs) -> Result<(), Error>;

    /// Changes a whole batch, record by record and in their order. Implement it only to share work
    /// between records.
    ///
    /// # Errors
    /// If anything fails about any record; the host finds out which.
    fn transform_batch(&self, batch: &Batch<'_>, out: &mut Outputs) -> Result<(), Error> {
        for record in batch {
            self.transform(record, out)?;
        }
        Ok(())
    }
}

/// Changes what a subscriber sees of records: stored records stay as they are.
///
/// ```
/// use weir_plugin::{Columns, Config, Error, Project, Record, View};
///
/// /// Only the first bytes of each value, and no header `trace`.
/// struct Preview;
///
/// impl Project for Preview {
///     fn configure(_: &Config, columns: &mut Columns) -> Result<Self, Error> {
///         columns.value();
///         Ok(Self)
///     }
///
///     fn project(&self, record: Record<'_>, view: &mut View<'_>) -> Result<(), Error> {
///         if let Some(beginning) = record.value().and_then(|value| value.get(..3)) {
///             view.value(beginning);
///         }
///         view.remove_header("trace");
///         Ok(())
///     }
/// }
///
/// weir_plugin::export! { project: Preview }
///
/// # fn main() -> Result<(), Error> {
/// use weir_plugin::testing;
/// let plugin = testing::project::<Preview>(&[])?;
/// let seen = plugin.project(testing::value("abcdef").header("trace", "7"))?;
/// assert_eq!(seen, testing::value("abc"));
/// # Ok(())
/// # }
/// ```
pub trait Project: Sized + 'static {
    /// Reads the settings and asks for the columns that [`project`](Self::project) reads. What it
    /// only passes on or replaces it need not ask for.
    ///
    /// # Errors
    /// If the settings make no sense; the message reaches the person who subscribes.
    fn configure(config: &Config, columns: &mut Columns) -> Result<Self, Error>;

    /// Changes what is seen of the record. What the view is not told to change stays.
    ///
    /// # Errors
    /// If it cannot be told; the subscription's error policy then decides about this record alone.
    fn project(&self, record: Record<'_>, view: &mut View<'_>) -> Result<(), Error>;
}

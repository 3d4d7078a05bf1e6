//! The filters of a subscription, and what they leave of a batch.

use bytes::Bytes;
use weir_host::{Bound, Input};
use weir_log::StoredBatch;
use weir_wire::batch::{BatchHeader, Compression, Records};
use weir_wire::error::{ErrorCode, Fault};
use weir_wire::limits::{BATCH_INFLATED_MAX, CONFIG_ENTRIES_MAX};
use weir_wire::name::PluginName;
use weir_wire::plugin::{ErrorPolicy, Hook};
use weir_wire::subscribe::FilterSpec;

use crate::budget::Budget;
use crate::fault::IntoFault;
use crate::requests::filter_fault;
use crate::selection::{inflate, rebuild, select_keys};
use crate::state::Shared;

/// The filters of a subscription, in order; a record must pass all.
#[derive(Debug)]
pub(super) struct Filters(Vec<Filter>);

#[derive(Debug)]
struct Filter {
    plugin: PluginName,
    on_error: ErrorPolicy,
    bound: Bound,
}

/// What is left of a batch.
#[derive(Debug)]
pub(super) struct Kept {
    /// The batch to be sent; `None` if nothing is left.
    pub(super) batch: Option<Bytes>,
    /// Records in it.
    pub(super) count: u32,
    /// The ordering keys of these.
    pub(super) ordering_keys: Bytes,
    /// Records left out.
    pub(super) filtered_out: u64,
}

impl Filters {
    /// Makes the filters ready.
    pub(super) async fn bind(shared: &Shared, specs: &[FilterSpec]) -> Result<Self, Fault> {
        let mut filters = Vec::with_capacity(specs.len());
        for spec in specs {
            let version = {
                let shard = shared.shard.read();
                let pushed = shard.resolve_version(&spec.plugin, spec.version.as_deref());
                pushed.map_err(IntoFault::into_fault)?.version
            };
            let on_error = policy(spec)?;
            let bound = shared
                .plugins
                .bind(&shared.host, version, Hook::Filter, &spec.config, &[])
                .await
                .map_err(|fault| filter_fault(&spec.plugin, &fault))?;
            filters.push(Filter {
                plugin: spec.plugin.clone(),
                on_error,
                bound,
            });
        }
        Ok(Self(filters))
    }

    /// What the filters leave of a batch, its records below the offset delta `skip` being none of
    /// the subscriber's business.
    pub(super) async fn apply(
        &self,
        unfolded: &Budget,
        stored: &StoredBatch,
        skip: u32,
    ) -> Result<Kept, Fault> {
        let all_keys = stored.columns.ordering_keys.clone().unwrap_or_default();
        let header = BatchHeader::parse(&stored.bytes).map_err(damaged)?;
        if self.0.is_empty() && skip == 0 {
            let (batch, count) = (Some(stored.bytes.clone()), header.count);
            return Ok(Kept {
                batch,
                count,
                ordering_keys: all_keys,
                filtered_out: 0,
            });
        }
        let most = match header.compression {
            Compression::None => stored.bytes.len(),
            _ => BATCH_INFLATED_MAX,
        };
        let mut held = unfolded.hold(most).await;
        let records = inflate(stored, &header).map_err(damaged)?;
        if let Some(held) = &mut held {
            held.shrink_to(records.len());
        }
        let mut keep = asked_for(&records, &header, skip)?;
        let asked = keep.iter().filter(|keep| **keep).count();
        let input = Input {
            base_offset: stored.base_offset,
            base_timestamp: header.base_timestamp,
            count: header.count,
            records: records.clone(),
        };
        for filter in &self.0 {
            filter.judge(&input, stored, &mut keep).await?;
        }
        let count = keep.iter().filter(|keep| **keep).count() as u32;
        let filtered_out = asked as u64 - u64::from(count);
        if count == header.count {
            let batch = Some(stored.bytes.clone());
            return Ok(Kept {
                batch,
                count,
                ordering_keys: all_keys,
                filtered_out,
            });
        }
        let batch = (count > 0)
            .then(|| rebuild(stored, &header, &records, &keep))
            .transpose()
            .map_err(damaged)?;
        let ordering_keys = select_keys(&all_keys, &keep);
        Ok(Kept {
            batch,
            count,
            ordering_keys,
            filtered_out,
        })
    }
}

impl Filter {
    /// Clears what the filter drops. Its failures follow its error policy.
    async fn judge(
        &self,
        input: &Input,
        stored: &StoredBatch,
        keep: &mut [bool],
    ) -> Result<(), Fault> {
        let failed = |text: String| {
            let text = format!("filter \"{}\": {text}", self.plugin);
            Fault::new(ErrorCode::PluginFailed, text)
        };
        let verdicts = match self.bound.filter(input.clone()).await {
            Ok(verdicts) => verdicts,
            Err(error) => return Err(failed(error.to_string())),
        };
        let mut passes = verdicts.values;
        for failure in verdicts.failures {
            let Some(passes) = passes.get_mut(failure.index as usize) else {
                continue;
            };
            match self.on_error {
                ErrorPolicy::Skip => *passes = true,
                ErrorPolicy::Drop => *passes = false,
                _ => {
                    let delta = delta_of(&input.records, input.count, failure.index);
                    let offset = stored.base_offset.advance(delta);
                    return Err(failed(format!(
                        "record at offset {offset}: {}",
                        failure.message
                    )));
                }
            }
        }
        for (keep, passes) in keep.iter_mut().zip(passes) {
            *keep &= passes;
        }
        Ok(())
    }
}

fn policy(spec: &FilterSpec) -> Result<ErrorPolicy, Fault> {
    let on_error = spec.on_error.unwrap_or(ErrorPolicy::Fail);
    let allowed = [ErrorPolicy::Fail, ErrorPolicy::Skip, ErrorPolicy::Drop];
    if spec.config.len() > CONFIG_ENTRIES_MAX || !allowed.contains(&on_error) {
        let text = format!(
            "filter \"{}\": the error policy is fail, skip or drop, and there are at most \
             {CONFIG_ENTRIES_MAX} settings",
            spec.plugin
        );
        return Err(Fault::new(ErrorCode::InvalidArgument, text));
    }
    Ok(on_error)
}

/// Which records stand at the offset delta `skip` or behind it. Compaction leaves gaps, so a
/// record's place in the batch does not say its offset.
fn asked_for(records: &[u8], header: &BatchHeader, skip: u32) -> Result<Vec<bool>, Fault> {
    let mut keep = vec![true; header.count as usize];
    if skip > 0 {
        for (keep, record) in keep.iter_mut().zip(Records::new(records, header.count)) {
            *keep = record.map_err(damaged)?.offset_delta >= skip;
        }
    }
    Ok(keep)
}

/// The offset delta of the record at that place.
fn delta_of(records: &[u8], count: u32, index: u32) -> u32 {
    let record = Records::new(records, count).nth(index as usize);
    record
        .and_then(Result::ok)
        .map_or(index, |record| record.offset_delta)
}

fn damaged(error: impl std::fmt::Display) -> Fault {
    Fault::new(
        ErrorCode::CorruptLog,
        format!("a stored batch cannot be read: {error}"),
    )
}

#[cfg(test)]
mod tests;

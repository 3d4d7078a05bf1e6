//! What happens when the host calls: view the columns as records, ask the author's code, write the
//! answers down.

use super::lifecycle::weir::plugin::host;
use super::slot::{
    FilterHook, KeyHook, ProjectHook, RetryPolicyHook, RouteHook, Slot, TransformHook,
};
use super::{filter, key, mapper, retry, route};
use crate::log::Level;
use crate::{
    Batch, Decision, Failure, Filter, Key, Keys, Outputs, Project, RetryPolicy, Route, Transform,
};

/// A [`Batch`] over the parts of the generated type, which each hook has its own of.
macro_rules! view {
    ($columns:expr, $batch:expr) => {
        Batch::new(
            $columns,
            $batch.count,
            &$batch.arena,
            &$batch.spans,
            $batch.timestamps.as_deref().unwrap_or_default(),
        )
    };
}

/// The export `filter`.
pub fn run_filter<E>(batch: filter::WireBatch) -> Result<Vec<u8>, String>
where
    E: Slot<FilterHook, Plugin: Filter>,
{
    E::with_configured(|configured| {
        let batch = view!(&configured.columns, batch);
        let verdicts = configured.plugin.filter(&batch)?;
        Ok(verdicts.into_iter().map(u8::from).collect())
    })
}

/// The export `keys`.
pub fn run_keys<E>(batch: key::WireBatch) -> Result<key::KeySpans, String>
where
    E: Slot<KeyHook, Plugin: Key>,
{
    E::with_configured(|configured| {
        let batch = view!(&configured.columns, batch);
        let mut keys = Keys::new(batch.arena(), batch.len());
        configured.plugin.keys(&batch, &mut keys)?;
        let (arena, spans) = keys.finish();
        Ok(key::KeySpans { arena, spans })
    })
}

/// The export `route`.
pub fn run_route<E>(batch: route::WireBatch) -> Result<Vec<u64>, String>
where
    E: Slot<RouteHook, Plugin: Route>,
{
    E::with_configured(|configured| {
        let batch = view!(&configured.columns, batch);
        let mut sets = Vec::with_capacity(batch.len());
        for record in &batch {
            sets.push(configured.plugin.route(record)?.bits());
        }
        Ok(sets)
    })
}

/// The export `apply` of an instance that transforms.
pub fn run_transform<E>(batch: mapper::WireBatch) -> Result<mapper::Mapped, String>
where
    E: Slot<TransformHook, Plugin: Transform>,
{
    E::with_configured(|configured| {
        let batch = view!(&configured.columns, batch);
        let mut outputs = Outputs::new(batch.len(), batch.arena().len());
        configured.plugin.transform_batch(&batch, &mut outputs)?;
        Ok(mapped(outputs))
    })
}

/// The export `apply` of an instance that projects.
pub fn run_project<E>(batch: mapper::WireBatch) -> Result<mapper::Mapped, String>
where
    E: Slot<ProjectHook, Plugin: Project>,
{
    E::with_configured(|configured| {
        let batch = view!(&configured.columns, batch);
        let mut outputs = Outputs::new(batch.len(), batch.arena().len());
        for record in &batch {
            configured
                .plugin
                .project(record, &mut outputs.push(record))?;
        }
        Ok(mapped(outputs))
    })
}

fn mapped(outputs: Outputs) -> mapper::Mapped {
    let headers = outputs
        .headers
        .into_iter()
        .map(|change| mapper::HeaderChange {
            output: change.output,
            name: change.name,
            value: change.value,
        });
    mapper::Mapped {
        source: outputs.source,
        data: outputs.data,
        spans: outputs.spans.into_flattened(),
        headers: headers.collect(),
        rejected: outputs.rejected,
    }
}

/// The export `decide`.
pub fn run_retry_policy<E>(
    batch: retry::WireBatch,
    failures: &[retry::Failure],
) -> Result<Vec<retry::Decision>, String>
where
    E: Slot<RetryPolicyHook, Plugin: RetryPolicy>,
{
    E::with_configured(|configured| {
        let batch = view!(&configured.columns, batch);
        let mut decisions = Vec::with_capacity(batch.len());
        for (record, failure) in batch.iter().zip(failures) {
            let failure = Failure {
                attempt: failure.attempt,
                message: &failure.message,
            };
            decisions.push(match configured.plugin.decide(record, &failure)? {
                Decision::Delay(delay) => {
                    retry::Decision::Delay(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX))
                }
                Decision::DeadLetter => retry::Decision::DeadLetter,
                Decision::ParkKey => retry::Decision::ParkKey,
            });
        }
        Ok(decisions)
    })
}

/// Tells the host what a panic said: all it sees otherwise is an `unreachable` trap.
pub fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        write_log(Level::Error, &panic.to_string());
    }));
}

/// A line in the plugin's log.
pub(crate) fn write_log(level: Level, message: &str) {
    let level = match level {
        Level::Debug => host::Level::Debug,
        Level::Info => host::Level::Info,
        Level::Warn => host::Level::Warn,
        Level::Error => host::Level::Error,
    };
    host::log(level, message);
}

//! What tests may do to a broker, by environment variables that release builds do not read:
//! `WEIR_VFS=lazy` (a kill becomes a power cut), `WEIR_PLANT=BUG` (a deliberate bug, to see that
//! a harness finds it), `WEIR_DROP_REPLIES=0.1` (a share of replies gets lost),
//! `WEIR_KILL_AT=segment-synced:2` (the process is killed at such a moment),
//! `WEIR_FAIL_AT=block-synced:20` (that fails instead, and every sync from then on).

use std::sync::Arc;

use weir_broker::{StartOptions, TestHooks};
use weir_log::{FatalMoment, FatalMomentError, FatalVfs, LazyVfs, RealVfs, Vfs};

use crate::environment::test_switch;
use crate::exit::Failure;

/// The broker's bug; the others are the log's.
#[cfg(debug_assertions)]
const DEDUP_AFTER_HOOKS: &str = "dedup-after-hooks";

/// How a broker is started by `serve`.
pub fn start_options() -> Result<StartOptions, Failure> {
    let mut options = StartOptions {
        vfs: vfs()?,
        tests: TestHooks {
            drop_replies_percent: drop_replies_percent()?,
            ..TestHooks::default()
        },
        ..StartOptions::default()
    };
    plant(&mut options)?;
    Ok(options)
}

fn vfs() -> Result<Arc<dyn Vfs>, Failure> {
    let mut vfs = plain_vfs()?;
    if let Some(moment) = moment("WEIR_FAIL_AT", "the disk fails then")? {
        vfs = Arc::new(FatalVfs::fails(vfs, moment));
    }
    if let Some(moment) = moment("WEIR_KILL_AT", "this process is killed then")? {
        vfs = Arc::new(FatalVfs::kills(vfs, moment));
    }
    Ok(vfs)
}

fn moment(name: &str, means: &str) -> Result<Option<FatalMoment>, Failure> {
    let Some(text) = test_switch(name) else {
        return Ok(None);
    };
    let moment = text.parse::<FatalMoment>();
    let moment = moment
        .map_err(|error: FatalMomentError| Failure::usage(format!("{name} cannot be: {error}")))?;
    tracing::warn!("{name}={text}: {means}");
    Ok(Some(moment))
}

fn plain_vfs() -> Result<Arc<dyn Vfs>, Failure> {
    match test_switch("WEIR_VFS").as_deref() {
        None | Some("real") => Ok(Arc::new(RealVfs::new())),
        Some("lazy") => {
            tracing::warn!("WEIR_VFS=lazy: what is not synced is lost with this process");
            Ok(Arc::new(LazyVfs::new(Arc::new(RealVfs::new()))))
        }
        Some(other) => Err(unknown("WEIR_VFS", other, "real or lazy")),
    }
}

fn drop_replies_percent() -> Result<u8, Failure> {
    let Some(text) = test_switch("WEIR_DROP_REPLIES") else {
        return Ok(0);
    };
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => {
            tracing::warn!("WEIR_DROP_REPLIES={text}: this share of produce replies gets lost");
            Ok((share * 100.0).round() as u8)
        }
        _ => Err(unknown("WEIR_DROP_REPLIES", &text, "a share from 0 to 1")),
    }
}

#[cfg(debug_assertions)]
fn plant(options: &mut StartOptions) -> Result<(), Failure> {
    let Some(bug) = test_switch("WEIR_PLANT") else {
        return Ok(());
    };
    tracing::warn!("WEIR_PLANT={bug}: this broker is broken on purpose");
    if bug == DEDUP_AFTER_HOOKS {
        options.tests.dedup_after_hooks = true;
        return Ok(());
    }
    let planted = bug.parse::<weir_log::Bug>();
    let planted = planted.map_err(|error| unknown("WEIR_PLANT", &bug, &error.to_string()))?;
    options.planted = Some(planted);
    Ok(())
}

#[cfg(not(debug_assertions))]
fn plant(_options: &mut StartOptions) -> Result<(), Failure> {
    Ok(())
}

fn unknown(name: &str, value: &str, expected: &str) -> Failure {
    Failure::usage(format!("{name}={value:?} cannot be: expected {expected}"))
}

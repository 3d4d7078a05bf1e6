//! The whole path on real and generated input, and under kills. Each test starts the brokers it
//! needs as child processes.

#[cfg(test)]
#[path = "e2e/directories.rs"]
mod directories;
#[cfg(test)]
#[path = "e2e/disk_fails.rs"]
mod disk_fails;
#[cfg(test)]
#[path = "e2e/disk_full.rs"]
mod disk_full;
#[cfg(test)]
#[path = "e2e/filters.rs"]
mod filters;
#[cfg(test)]
#[path = "e2e/flights.rs"]
mod flights;
#[cfg(test)]
#[path = "e2e/hot_swap.rs"]
mod hot_swap;
#[cfg(test)]
#[path = "e2e/kills.rs"]
mod kills;
#[cfg(test)]
#[path = "e2e/many_bindings.rs"]
mod many_bindings;
#[cfg(test)]
#[path = "e2e/partitions.rs"]
mod partitions;
#[cfg(test)]
#[path = "e2e/pipeline.rs"]
mod pipeline;
#[cfg(test)]
#[path = "e2e/planted.rs"]
mod planted;
#[cfg(test)]
#[path = "e2e/plugin_files.rs"]
mod plugin_files;
#[cfg(test)]
#[path = "e2e/restart.rs"]
mod restart;
#[cfg(test)]
#[path = "e2e/transforms.rs"]
mod transforms;
#[cfg(test)]
#[path = "e2e/views.rs"]
mod views;

/// The broker as a user runs it.
#[cfg(test)]
fn setup() -> weir_harness::process::Setup {
    weir_harness::process::Setup::new(env!("CARGO_BIN_EXE_weir"))
}

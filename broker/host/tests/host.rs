//! The host against real components: the prebuilt samples, and hostile ones written as text.

#[path = "host/compile.rs"]
mod compile;
#[path = "host/hostile.rs"]
mod hostile;
#[path = "host/samples.rs"]
mod samples;
#[path = "host/support.rs"]
mod support;

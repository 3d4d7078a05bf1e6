//! `--filter` and `--project` with their settings: `--config`, `--on-error` and limits belong to
//! the one before them, so their order counts, which clap's derive does not see.

use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};
use weir_sdk::FilterSpec;
use weir_wire::plugin::ErrorPolicy;
use weir_wire::request::{BindingLimits, Setting};

use crate::size;
use crate::verb::plugin::{PluginRef, cpu_time, setting};

const FILTER: &str = "filter";
const PROJECT: &str = "project";
const CONFIG: &str = "config";
const ON_ERROR: &str = "on-error";
const CPU_TIME: &str = "cpu-time";
const MEMORY: &str = "memory";
const OUTPUT_BYTES: &str = "output-bytes";
const LOG_RATE: &str = "log-rate";
const LIMITS: &str = "Limits of the filter or projection before them (else the broker's own)";

/// The filters and projections, each with its settings.
#[derive(Clone, Debug, Default)]
pub struct FilterArgs {
    /// In the order in which a record passes them.
    pub filters: Vec<FilterSpec>,
    /// In the order in which they change what is kept.
    pub projections: Vec<FilterSpec>,
}

/// A plugin of the command line.
struct Named {
    place: usize,
    projects: bool,
    spec: FilterSpec,
}

impl Args for FilterArgs {
    fn augment_args(command: Command) -> Command {
        let plugin = |name: &'static str, help: &'static str| {
            Arg::new(name)
                .long(name)
                .value_name("PLUGIN[@VERSION]")
                .action(ArgAction::Append)
                .value_parser(|text: &str| text.parse::<PluginRef>())
                .help(help)
        };
        let limit = |name: &'static str, value: &'static str, help: &'static str| {
            Arg::new(name)
                .long(name)
                .value_name(value)
                .action(ArgAction::Append)
                .help_heading(LIMITS)
                .help(help)
        };
        let filter = "Only records that this plugin keeps; several are passed in turn";
        let project = "Records as this plugin shows them; behind all filters, several in turn";
        command
            .arg(plugin(FILTER, filter))
            .arg(plugin(PROJECT, project))
            .arg(
                Arg::new(CONFIG)
                    .long(CONFIG)
                    .value_name("K=V")
                    .action(ArgAction::Append)
                    .value_parser(setting)
                    .help("A setting of the filter or projection before it"),
            )
            .arg(
                Arg::new(ON_ERROR)
                    .long(ON_ERROR)
                    .value_name("POLICY")
                    .action(ArgAction::Append)
                    .value_parser(|text: &str| text.parse::<ErrorPolicy>())
                    .help(
                        "What happens to a record on which the filter or projection before it \
                         fails: fail (the end), skip (it comes as it is), drop, or dead-letter \
                         (drop, and keep it in TOPIC.dlq)",
                    ),
            )
            .arg(
                limit(CPU_TIME, "TIME", "CPU time of one call, such as 50ms")
                    .value_parser(cpu_time),
            )
            .arg(
                limit(MEMORY, "SIZE", "Memory of one instance, such as 32MiB")
                    .value_parser(size::parse_bytes),
            )
            .arg(
                limit(
                    OUTPUT_BYTES,
                    "SIZE",
                    "Bytes that one call may return, such as 8MiB",
                )
                .value_parser(size::parse_bytes),
            )
            .arg(
                limit(LOG_RATE, "LINES", "Lines that it may log in a second")
                    .value_parser(size::parse_count::<u64>),
            )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for FilterArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut plugins: Vec<Named> = [(FILTER, false), (PROJECT, true)]
            .into_iter()
            .flat_map(|(name, projects)| {
                placed::<PluginRef>(matches, name).map(move |(place, plugin)| Named {
                    place,
                    projects,
                    spec: spec(plugin),
                })
            })
            .collect();
        plugins.sort_by_key(|plugin| plugin.place);
        for (place, setting) in placed::<Setting>(matches, CONFIG) {
            owner(&mut plugins, place, CONFIG)?.config.push(setting);
        }
        for (place, policy) in placed::<ErrorPolicy>(matches, ON_ERROR) {
            let owner = owner(&mut plugins, place, ON_ERROR)?;
            if owner.on_error.replace(policy).is_some() {
                return Err(given_twice(ON_ERROR, owner));
            }
        }
        let milliseconds = |time: Duration| time.as_millis() as u64;
        limit(&mut plugins, matches, CPU_TIME, milliseconds, |limits| {
            &mut limits.cpu_ms
        })?;
        limit(
            &mut plugins,
            matches,
            MEMORY,
            |bytes: u64| bytes,
            |limits| &mut limits.memory_bytes,
        )?;
        limit(
            &mut plugins,
            matches,
            OUTPUT_BYTES,
            |bytes: u64| bytes,
            |limits| &mut limits.output_bytes,
        )?;
        limit(
            &mut plugins,
            matches,
            LOG_RATE,
            |lines: u64| lines,
            |limits| &mut limits.log_lines_per_second,
        )?;
        let (projections, filters): (Vec<_>, Vec<_>) =
            plugins.into_iter().partition(|plugin| plugin.projects);
        let specs = |plugins: Vec<Named>| plugins.into_iter().map(|plugin| plugin.spec).collect();
        Ok(Self {
            filters: specs(filters),
            projections: specs(projections),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn spec(plugin: PluginRef) -> FilterSpec {
    FilterSpec {
        plugin: plugin.name,
        version: plugin.version,
        config: Vec::new(),
        on_error: None,
        limits: None,
    }
}

/// Gives each plugin the limits of that name behind it.
fn limit<T: Clone + Send + Sync + 'static>(
    plugins: &mut [Named],
    matches: &ArgMatches,
    name: &str,
    value: impl Fn(T) -> u64,
    place: impl Fn(&mut BindingLimits) -> &mut Option<u64>,
) -> Result<(), Error> {
    for (at, given) in placed::<T>(matches, name) {
        let owner = owner(plugins, at, name)?;
        let limits = owner.limits.get_or_insert_default();
        if place(limits).replace(value(given)).is_some() {
            return Err(given_twice(name, owner));
        }
        if let Err(error) = limits.check() {
            return Err(Error::raw(ErrorKind::ValueValidation, error.to_string()));
        }
    }
    Ok(())
}

fn given_twice(argument: &str, owner: &FilterSpec) -> Error {
    let text = format!("--{argument} is given twice for \"{}\"", owner.plugin);
    Error::raw(ErrorKind::ArgumentConflict, text)
}

/// The plugin that an argument at that place belongs to.
fn owner<'a>(
    plugins: &'a mut [Named],
    place: usize,
    argument: &str,
) -> Result<&'a mut FilterSpec, Error> {
    let owner = plugins.iter_mut().rfind(|plugin| plugin.place < place);
    owner.map(|plugin| &mut plugin.spec).ok_or_else(|| {
        let text = format!(
            "--{argument} needs a --filter or --project before it, to which it belongs: \
             --filter NAME --{argument} …"
        );
        Error::raw(ErrorKind::MissingRequiredArgument, text)
    })
}

/// An argument's values with their places in the command line.
fn placed<T: Clone + Send + Sync + 'static>(
    matches: &ArgMatches,
    name: &str,
) -> impl Iterator<Item = (usize, T)> {
    let places = matches.indices_of(name).into_iter().flatten();
    let values = matches.get_many::<T>(name).into_iter().flatten();
    places.zip(values.cloned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<FilterArgs, Error> {
        let command = FilterArgs::augment_args(Command::new("test").no_binary_name(true));
        FilterArgs::from_arg_matches(&command.try_get_matches_from(words)?)
    }

    /// Each as `name a=1 b=2 policy`.
    fn text(specs: &[FilterSpec]) -> Vec<String> {
        let text = |spec: &FilterSpec| {
            let config = spec.config.iter();
            let mut words = vec![spec.plugin.to_string()];
            words.extend(config.map(|setting| format!("{}={}", setting.name, setting.value)));
            words.extend(spec.on_error.map(|policy| policy.to_string()));
            words.join(" ")
        };
        specs.iter().map(text).collect()
    }

    #[test]
    fn settings_belong_to_the_plugin_before_them() {
        let words = [
            "--filter",
            "one",
            "--config",
            "a=1",
            "--on-error",
            "drop",
            "--config",
            "b=2",
            "--project",
            "mask",
            "--config",
            "field=x",
            "--filter",
            "two",
            "--filter=three",
            "--config=c=3",
            "--project",
            "view",
            "--on-error=dead-letter",
        ];
        let args = read(&words).unwrap();
        assert_eq!(
            text(&args.filters),
            ["one a=1 b=2 drop", "two", "three c=3"]
        );
        assert_eq!(
            text(&args.projections),
            ["mask field=x", "view dead-letter"]
        );
    }

    #[test]
    fn limits_belong_to_the_plugin_before_them() {
        let words = [
            "--filter",
            "one",
            "--cpu-time",
            "20ms",
            "--log-rate=3",
            "--project",
            "mask",
            "--memory",
            "8MiB",
            "--filter",
            "two",
        ];
        let args = read(&words).unwrap();
        let limits = |specs: &[FilterSpec]| specs.iter().map(|it| it.limits.clone()).collect();
        let filters: Vec<_> = limits(&args.filters);
        let one = BindingLimits {
            cpu_ms: Some(20),
            log_lines_per_second: Some(3),
            ..BindingLimits::default()
        };
        assert_eq!(filters, [Some(one), None]);
        let projections: Vec<_> = limits(&args.projections);
        let mask = BindingLimits {
            memory_bytes: Some(8 << 20),
            ..BindingLimits::default()
        };
        assert_eq!(projections, [Some(mask)]);
    }

    #[test]
    fn what_belongs_to_no_plugin_or_comes_twice_is_refused() {
        for words in [
            &["--config", "a=1"][..],
            &["--config", "a=1", "--filter", "one"],
            &["--on-error", "drop", "--project", "one"],
            &["--cpu-time", "20ms"],
            &["--filter", "one", "--memory", "1KiB"],
            &["--filter", "one", "--log-rate", "3", "--log-rate", "4"],
            &[
                "--filter",
                "one",
                "--on-error",
                "drop",
                "--on-error",
                "skip",
            ],
            &["--filter", "one", "--on-error", "explode"],
        ] {
            assert!(read(words).is_err(), "{words:?}");
        }
    }
}

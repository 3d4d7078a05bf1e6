//! `--filter` and `--project` with their settings: `--config` and `--on-error` belong to the one
//! before them, so their order counts, which clap's derive does not see.

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};
use weir_sdk::FilterSpec;
use weir_wire::plugin::ErrorPolicy;
use weir_wire::request::Setting;

use crate::verb::plugin::{PluginRef, setting};

const FILTER: &str = "filter";
const PROJECT: &str = "project";
const CONFIG: &str = "config";
const ON_ERROR: &str = "on-error";

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
                let text = format!("--{ON_ERROR} is given twice for \"{}\"\n", owner.plugin);
                return Err(Error::raw(ErrorKind::ArgumentConflict, text));
            }
        }
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

/// The plugin that an argument at that place belongs to.
fn owner<'a>(
    plugins: &'a mut [Named],
    place: usize,
    argument: &str,
) -> Result<&'a mut FilterSpec, Error> {
    let owner = plugins.iter_mut().rfind(|plugin| plugin.place < place);
    owner.map(|plugin| &mut plugin.spec).ok_or_else(|| {
        let text = format!(
            "--{argument} belongs to the --filter or --project before it; put it behind one\n"
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
    fn what_belongs_to_no_plugin_or_comes_twice_is_refused() {
        for words in [
            &["--config", "a=1"][..],
            &["--config", "a=1", "--filter", "one"],
            &["--on-error", "drop", "--project", "one"],
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

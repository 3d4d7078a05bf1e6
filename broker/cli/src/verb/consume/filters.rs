//! `--filter` and `--config`: a setting belongs to the filter before it, so their order counts,
//! which clap's derive does not see.

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};
use weir_sdk::FilterSpec;
use weir_wire::request::Setting;

use crate::verb::plugin::{PluginRef, setting};

const FILTER: &str = "filter";
const CONFIG: &str = "config";

/// The filters, each with its settings.
#[derive(Clone, Debug, Default)]
pub struct FilterArgs {
    /// In the order in which a record passes them.
    pub filters: Vec<FilterSpec>,
}

impl Args for FilterArgs {
    fn augment_args(command: Command) -> Command {
        command
            .arg(
                Arg::new(FILTER)
                    .long(FILTER)
                    .value_name("PLUGIN[@VERSION]")
                    .action(ArgAction::Append)
                    .value_parser(|text: &str| text.parse::<PluginRef>())
                    .help("Only records that this plugin keeps; several are passed in turn"),
            )
            .arg(
                Arg::new(CONFIG)
                    .long(CONFIG)
                    .value_name("K=V")
                    .action(ArgAction::Append)
                    .value_parser(setting)
                    .requires(FILTER)
                    .help("A setting of the filter before it"),
            )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for FilterArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut filters: Vec<(usize, FilterSpec)> = placed::<PluginRef>(matches, FILTER)
            .map(|(place, plugin)| {
                let filter = FilterSpec {
                    plugin: plugin.name,
                    version: plugin.version,
                    config: Vec::new(),
                    on_error: None,
                };
                (place, filter)
            })
            .collect();
        for (place, setting) in placed::<Setting>(matches, CONFIG) {
            let owner = filters.iter_mut().rfind(|(filter, _)| *filter < place);
            let Some((_, owner)) = owner else {
                return Err(Error::raw(
                    ErrorKind::MissingRequiredArgument,
                    "--config belongs to the --filter before it; put it behind one\n",
                ));
            };
            owner.config.push(setting);
        }
        let filters = filters.into_iter().map(|(_, filter)| filter).collect();
        Ok(Self { filters })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
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

    fn read(words: &[&str]) -> Result<Vec<(String, Vec<String>)>, Error> {
        let command = FilterArgs::augment_args(Command::new("test").no_binary_name(true));
        let args = FilterArgs::from_arg_matches(&command.try_get_matches_from(words)?)?;
        let filters = args.filters.into_iter().map(|filter| {
            let config = filter.config.into_iter();
            let config = config.map(|setting| format!("{}={}", setting.name, setting.value));
            (filter.plugin.to_string(), config.collect())
        });
        Ok(filters.collect())
    }

    #[test]
    fn a_setting_belongs_to_the_filter_before_it() {
        let words = [
            "--filter",
            "one",
            "--config",
            "a=1",
            "--config",
            "b=2",
            "--filter",
            "two",
            "--filter=three",
            "--config=c=3",
        ];
        let text = |words: &[&str]| {
            words
                .iter()
                .map(|&word| word.to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            read(&words).unwrap(),
            [
                ("one".to_owned(), text(&["a=1", "b=2"])),
                ("two".to_owned(), text(&[])),
                ("three".to_owned(), text(&["c=3"])),
            ]
        );
    }

    #[test]
    fn a_setting_without_a_filter_before_it_is_refused() {
        assert!(read(&["--config", "a=1"]).is_err());
        assert!(read(&["--config", "a=1", "--filter", "one"]).is_err());
    }
}

//! `weir context`: brokers by name. Nothing here connects.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::address::Address;
use crate::ask::{Unasked, YesArgs};
use crate::context::{Context, ContextError, Contexts};
use crate::environment::Environment;
use crate::exit::{Exit, Failure};
use crate::output::{self, Listing, OutputArgs};

/// What can be done with contexts.
#[derive(Debug, clap::Subcommand)]
pub enum ContextVerb {
    /// List all contexts; the current one is marked
    #[command(after_help = "Examples:
  weir context list
  weir context list --output json")]
    List(OutputArgs),
    /// Make a context the current one
    #[command(after_help = "Examples:
  weir context use local
  weir context use production && weir status")]
    Use(UseArgs),
    /// Show the current context
    #[command(after_help = "Examples:
  weir context show
  weir context show --output json")]
    Show(OutputArgs),
    /// Add a context, or replace the one of that name
    #[command(after_help = "Examples:
  weir context add production weir://broker.example:7650 --ca ca.pem --token-file token
  weir context add next 127.0.0.1:7651 --ca weir-data/tls/ca.pem")]
    Add(AddArgs),
    /// Forget a context; the files it names stay
    #[command(after_help = "Examples:
  weir context remove production
  weir context remove local --yes")]
    Remove(RemoveArgs),
}

/// Arguments of `context use`.
#[derive(Debug, clap::Args)]
pub struct UseArgs {
    /// The context
    name: String,
    #[command(flatten)]
    output: OutputArgs,
}

/// Arguments of `context add`.
#[derive(Debug, clap::Args)]
pub struct AddArgs {
    /// The context
    name: String,
    /// The broker's address, weir://host:port
    address: Address,
    /// File with the certificates to trust
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// File with the token
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Arguments of `context remove`.
#[derive(Debug, clap::Args)]
pub struct RemoveArgs {
    /// The context
    name: String,
    #[command(flatten)]
    yes: YesArgs,
}

/// Does it.
pub fn run(verb: ContextVerb) -> Result<(), Failure> {
    let path = Environment::read().contexts.ok_or(ContextError::NoPlace)?;
    match verb {
        ContextVerb::List(args) => list(&path, args),
        ContextVerb::Use(args) => {
            let context = Contexts::change(&path, |contexts| {
                contexts.select(&args.name)?;
                contexts.named(&args.name).cloned()
            })?;
            let text = format!("{:?} is the current context", args.name);
            let object = json(&args.name, &context, true);
            output::print_done(args.output.output, &object, &text)
        }
        ContextVerb::Show(args) => show(&path, args),
        ContextVerb::Add(args) => add(&path, args),
        ContextVerb::Remove(args) => {
            let contexts = Contexts::load(&path)?;
            contexts.named(&args.name)?;
            let was_current = contexts.current.as_ref() == Some(&args.name);
            let question = format!("forget the context {:?}?", args.name);
            args.yes.confirm(&question, Unasked::Allow)?;
            Contexts::change(&path, |contexts| contexts.remove(&args.name))?;
            output::note(&format!("context {:?} is forgotten", args.name));
            if was_current {
                output::note(
                    "it was the current one: give --broker from now on, or choose another (weir \
                     context use NAME)",
                );
            }
            Ok(())
        }
    }
}

fn list(path: &Path, args: OutputArgs) -> Result<(), Failure> {
    let contexts = Contexts::load(path)?;
    let mut table = Listing::new(&["", "name", "address", "ca", "token file"]);
    let mut objects = Vec::new();
    for (name, context) in &contexts.contexts {
        let current = contexts.current.as_ref() == Some(name);
        objects.push(json(name, context, current));
        table.row([
            if current { "*" } else { "" }.to_owned(),
            name.clone(),
            context.address.to_string(),
            shown(context.ca.as_deref()),
            shown(context.token_file.as_deref()),
        ]);
    }
    output::print_many(args.output, &objects, &table)
}

fn show(path: &Path, args: OutputArgs) -> Result<(), Failure> {
    let contexts = Contexts::load(path)?;
    let (Some(name), Some(context)) = (&contexts.current, contexts.current()) else {
        return Err(Failure::failed(
            "no context is current; choose one (weir context use NAME) or start a broker \
             (weir serve)",
        ));
    };
    let text = format!(
        "name        {name}\naddress     {}\nca          {}\ntoken file  {}",
        context.address,
        shown(context.ca.as_deref()),
        shown(context.token_file.as_deref()),
    );
    output::print_one(args.output, &json(name, context, true), &text)
}

fn add(path: &Path, args: AddArgs) -> Result<(), Failure> {
    let context = Context {
        address: args.address,
        ca: args.ca.as_deref().map(existing).transpose()?,
        token_file: args.token_file.as_deref().map(existing).transpose()?,
        data: None,
    };
    let is_current = Contexts::change(path, |contexts| {
        contexts.add(&args.name, context)?;
        Ok(contexts.current.as_ref() == Some(&args.name))
    })?;
    let how = if is_current { ", the current one" } else { "" };
    output::note(&format!("context {:?} is there{how}", args.name));
    Ok(())
}

/// The file's absolute path: a context is used from any folder.
fn existing(path: &Path) -> Result<PathBuf, Failure> {
    std::fs::canonicalize(path)
        .map_err(|error| Failure::failed(format!("cannot find {}: {error}", path.display())))
}

fn shown(path: Option<&Path>) -> String {
    path.map_or_else(|| "-".to_owned(), |path| path.display().to_string())
}

fn json(name: &str, context: &Context, current: bool) -> Value {
    json!({
        "name": name,
        "current": current,
        "address": context.address.to_string(),
        "ca": context.ca,
        "token_file": context.token_file,
    })
}

impl From<ContextError> for Failure {
    fn from(error: ContextError) -> Self {
        let exit = match error {
            ContextError::Name(_) => Exit::Usage,
            _ => Exit::Failed,
        };
        Self::of(exit, &error)
    }
}

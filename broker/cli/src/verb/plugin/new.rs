//! `weir plugin new`: a project that builds and passes its own test. What goes into it is decided
//! in `new/project.rs`; the files themselves are those of `templates/` and of the repository.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::builder::PossibleValuesParser;
use serde_json::json;
use weir_wire::plugin::Hook;

use crate::exit::Failure;
use crate::output::{self, Format, OutputArgs};

mod manifest;
mod project;

use project::{Project, languages};

/// Arguments of `plugin new`.
#[derive(Debug, clap::Args)]
pub struct NewArgs {
    /// What the plugin is called
    #[arg(value_parser = name)]
    name: String,
    /// The language that it is written in
    #[arg(long, value_parser = PossibleValuesParser::new(languages()))]
    lang: String,
    /// The hook that it serves: transform, route, key, filter, project, retry-policy
    #[arg(long)]
    hook: Hook,
    /// The folder that is made [default: ./NAME]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Names that every language's tools take for a package.
fn name(text: &str) -> Result<String, String> {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let begins_well = text.starts_with(|first: char| first.is_ascii_lowercase());
    if begins_well && text.len() <= 64 && text.bytes().all(is_word) && !text.ends_with('-') {
        Ok(text.to_owned())
    } else {
        Err("use lower-case letters, digits and -, a letter first".to_owned())
    }
}

/// Does it.
pub fn run(args: NewArgs) -> Result<(), Failure> {
    let dir = args.dir.unwrap_or_else(|| PathBuf::from(&args.name));
    let shown = dir.display().to_string();
    let project = Project::new(&args.lang, args.hook, &args.name, &shown)?;
    refuse_to_overwrite(&dir)?;
    for (path, text) in &project.files {
        write(&dir.join(path), text)
            .map_err(|error| Failure::failed(format!("cannot write {shown}/{path}: {error}")))?;
    }
    let count = project.files.len();
    if args.output.output == Format::Json {
        let files: Vec<_> = project.files.keys().collect();
        let object = json!({ "dir": shown, "files": files, "next": project.next });
        return output::print(&object.to_string());
    }
    output::note(&format!("{shown}: {count} files. Next:"));
    output::print(&project.next.join("\n"))
}

fn refuse_to_overwrite(dir: &Path) -> Result<(), Failure> {
    let is_taken = match fs::read_dir(dir) {
        Ok(mut entries) => entries.next().is_some(),
        Err(_) => dir.exists(),
    };
    if is_taken {
        return Err(Failure::failed(format!(
            "{} is there already, and nothing is overwritten; choose another folder with --dir",
            dir.display()
        )));
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = fs::File::create_new(path)?;
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests;

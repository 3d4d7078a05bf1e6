//! `weir log verify`: every byte of a log, checked.

use serde_json::json;
use weir_log::offline::Verification;

use super::progress::Bar;
use super::{Closed, LogArgs, cut_json, cut_text, failure};
use crate::exit::Failure;
use crate::{output, size};

/// Does it; a damaged log is a failure.
pub fn run(args: &LogArgs) -> Result<(), Failure> {
    let closed = Closed::open(&args.dir)?;
    let bar = Bar::new();
    let verified = weir_broker::offline::verify(&closed.vfs, &closed.log, &mut |done, total| {
        bar.update(done, total);
    });
    bar.finish();
    let verified = verified.map_err(|error| failure(&error))?;
    let object = json!({
        "directory": closed.root.display().to_string(),
        "files": verified.files,
        "bytes": verified.bytes,
        "batches": verified.batches,
        "records": verified.records,
        "cut": cut_json(verified.cut.as_ref()),
        "damages": closed.damages_json(&verified.damages),
    });
    let printed = output::print_one(args.output.output, &object, &text(&closed, &verified));
    let count = verified.damages.len() as u64;
    if count == 0 {
        return printed;
    }
    Err(Failure::failed(format!(
        "{} in {dir}; copy the directory away before anything else, restore the files named above \
         from a backup, or get out what can be read (weir log rescue {dir} --out FILE)",
        size::counted(count, "damage"),
        dir = args.dir.display()
    )))
}

fn text(closed: &Closed, verified: &Verification) -> String {
    let mut text = format!(
        "files    {}\nread     {}\nbatches  {}\nrecords  {}\n",
        size::count(verified.files),
        size::bytes(verified.bytes),
        size::count(verified.batches),
        size::count(verified.records),
    );
    if let Some(cut) = &verified.cut {
        text.push_str(&format!("cut      {}\n", cut_text(cut)));
    }
    if verified.damages.is_empty() {
        text.push_str("sound    yes\n");
    }
    for damage in &verified.damages {
        text.push_str(&format!("damaged  {}\n", closed.damage_text(damage)));
    }
    text
}

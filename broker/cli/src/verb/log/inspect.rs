//! `weir log inspect`: what a log consists of.

use serde_json::{Value, json};
use weir_log::offline::{
    self, Damage, Inspection, ManifestInfo, RunInfo, SegmentInfo, WalFileInfo,
};

use super::{Closed, LogArgs, cut_json, cut_text, failure, note_damages};
use crate::exit::Failure;
use crate::output::{self, Listing};
use crate::{size, time};

/// Does it. What is damaged is shown and no failure: `weir log verify` judges.
pub fn run(args: &LogArgs) -> Result<(), Failure> {
    let closed = Closed::open(&args.dir)?;
    let found = offline::inspect(&*closed.vfs, &closed.log).map_err(|error| failure(&error))?;
    let damages = closed.damages_with(&found.damages);
    let object = json(&closed, &found, &damages);
    let printed = output::print_one(args.output.output, &object, &text(&closed, &found));
    note_damages(&closed, &damages);
    printed
}

fn json(closed: &Closed, found: &Inspection, damages: &[Damage]) -> Value {
    let topics = closed.topics.topics().map(|(id, name)| {
        json!({
            "topic": name.to_string(),
            "topic_id": id.value(),
            "deleted": closed.topics.is_deleted(id),
        })
    });
    let leftovers = found.leftovers.iter();
    json!({
        "directory": closed.root.display().to_string(),
        "node": found.node.map(|node| format!("{node}")),
        "end": {
            "last_block": found.end.last.value(),
            "durable_block": found.end.durable.value(),
            "last_entry": found.end.index.value(),
            "cut": cut_json(found.end.cut.as_ref()),
        },
        "manifests": found.manifests.iter().map(manifest_json).collect::<Vec<_>>(),
        "segments": found.segments.iter().map(|it| segment_json(closed, it)).collect::<Vec<_>>(),
        "wal": found.wal.iter().map(wal_json).collect::<Vec<_>>(),
        "topics": topics.collect::<Vec<_>>(),
        "leftovers": leftovers.map(|path| path.display().to_string()).collect::<Vec<_>>(),
        "damages": closed.damages_json(damages),
    })
}

fn manifest_json(manifest: &ManifestInfo) -> Value {
    let sections = manifest.sections.iter().map(|section| {
        json!({
            "section": section.name,
            "entry": section.index.value(),
            "bytes": section.bytes,
        })
    });
    json!({
        "file": manifest.path.display().to_string(),
        "generation": manifest.generation,
        "durable_block": manifest.durable.value(),
        "checkpoint_entry": manifest.checkpoint.value(),
        "wal_start": manifest.wal_start.value(),
        "sections": sections.collect::<Vec<_>>(),
        "segments": manifest.segments,
        "partitions": manifest.partitions,
    })
}

fn segment_json(closed: &Closed, segment: &SegmentInfo) -> Value {
    let runs = segment.runs.iter().map(|run| run_json(closed, run));
    json!({
        "segment": segment.id.value(),
        "file": segment.path.display().to_string(),
        "bytes": segment.bytes,
        "named": segment.named,
        "runs": runs.collect::<Vec<_>>(),
    })
}

fn run_json(closed: &Closed, run: &RunInfo) -> Value {
    let mut object = closed.partition_json(run.partition);
    object["start"] = json!(run.base.value());
    object["end"] = json!(run.end.value());
    object["records"] = json!(run.records);
    object["batches"] = json!(run.batches);
    object["bytes"] = json!(run.bytes);
    object["first_time"] = json!(time::format(run.first_time));
    object["last_time"] = json!(time::format(run.last_time));
    object
}

fn wal_json(file: &WalFileInfo) -> Value {
    json!({
        "sequence": file.sequence.value(),
        "file": file.path.display().to_string(),
        "bytes": file.bytes,
        "freed": file.freed,
        "blocks": file.blocks,
        "first_block": file.lsns.map(|(first, _)| first.value()),
        "last_block": file.lsns.map(|(_, last)| last.value()),
        "entries": file.entries,
    })
}

fn text(closed: &Closed, found: &Inspection) -> String {
    let node = found
        .node
        .map_or_else(|| "unknown".to_owned(), |node| node.to_string());
    let mut text = format!(
        "directory  {}\nnode       {node}\nends at    block {}, entry {}; known durable to block \
         {}\n",
        closed.root.display(),
        found.end.last,
        found.end.index,
        found.end.durable,
    );
    if let Some(cut) = &found.end.cut {
        text.push_str(&format!("cut        {}\n", cut_text(cut)));
    }
    let mut section = |listing: Listing, is_empty: bool| {
        if !is_empty {
            text.push('\n');
            text.push_str(&listing.render(None));
            text.push('\n');
        }
    };
    section(manifests(&found.manifests), found.manifests.is_empty());
    section(segments(closed, &found.segments), found.segments.is_empty());
    section(wal(&found.wal), found.wal.is_empty());
    for path in &found.leftovers {
        text.push_str(&format!(
            "\nleft over: {}, the next start removes it",
            path.display()
        ));
    }
    text
}

fn manifests(manifests: &[ManifestInfo]) -> Listing {
    let mut listing = Listing::new(&[
        "manifest#",
        "durable block#",
        "checkpoint entry#",
        "wal from#",
        "segments#",
        "partitions#",
    ]);
    for manifest in manifests {
        listing.row([
            manifest.generation.to_string(),
            manifest.durable.to_string(),
            manifest.checkpoint.to_string(),
            manifest.wal_start.to_string(),
            manifest.segments.to_string(),
            manifest.partitions.to_string(),
        ]);
    }
    listing
}

fn segments(closed: &Closed, segments: &[SegmentInfo]) -> Listing {
    let mut listing = Listing::new(&["segment#", "size#", "records#", "batches#", "of", "from"]);
    for segment in segments {
        let records: u64 = segment.runs.iter().map(|run| run.records).sum();
        let batches: u64 = segment.runs.iter().map(|run| u64::from(run.batches)).sum();
        let first = segment.runs.iter().map(|run| run.first_time).min();
        let of = match segment.runs.as_slice() {
            [] => "nothing that can be read".to_owned(),
            [run] => format!(
                "{} offsets {} to {}",
                closed.partition_text(run.partition),
                run.base,
                run.end
            ),
            runs => format!("{} partitions", runs.len()),
        };
        let state = if segment.named { "" } else { ", not in use" };
        listing.row([
            segment.id.to_string(),
            size::bytes(segment.bytes),
            size::count(records),
            size::count(batches),
            format!("{of}{state}"),
            first.map_or_else(|| "-".to_owned(), time::format),
        ]);
    }
    listing
}

fn wal(files: &[WalFileInfo]) -> Listing {
    let mut listing = Listing::new(&[
        "wal file#",
        "size#",
        "blocks#",
        "first#",
        "last#",
        "entries#",
        "",
    ]);
    for file in files {
        let block =
            |lsn: Option<weir_log::Lsn>| lsn.map_or_else(|| "-".to_owned(), |it| it.to_string());
        listing.row([
            file.sequence.to_string(),
            size::bytes(file.bytes),
            size::count(file.blocks),
            block(file.lsns.map(|(first, _)| first)),
            block(file.lsns.map(|(_, last)| last)),
            size::count(file.entries),
            if file.freed { "in segments" } else { "" }.to_owned(),
        ]);
    }
    listing
}

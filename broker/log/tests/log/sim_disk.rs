//! The simulated disk keeps to what a real one does: what it refuses, what it loses.

use std::io::{ErrorKind, IoSlice};
use std::path::Path;
use std::sync::Arc;

use weir_log::{CrashPolicy, OpenMode, PAGE_BYTES, PageBuf, SimVfs, Vfs, VfsFile};

const FILE: &str = "/data/file";

fn create(vfs: &SimVfs, direct: bool) -> Arc<dyn VfsFile> {
    vfs.create_dir_all(Path::new("/data")).unwrap();
    let file = vfs.open(Path::new(FILE), OpenMode::Create { direct });
    vfs.sync_dir(Path::new("/data")).unwrap();
    file.unwrap()
}

fn write(file: &dyn VfsFile, bytes: &[u8], offset: u64) -> Result<(), ErrorKind> {
    let written = file.write_vectored_at(&[IoSlice::new(bytes)], offset);
    written.map_err(|error| error.kind())
}

#[test]
fn direct_writes_take_whole_pages_only() {
    let vfs = SimVfs::new(1);
    let file = create(&vfs, true);
    let pages = PageBuf::with_len(2 * PAGE_BYTES);
    let pages = pages.as_slice();
    assert_eq!(write(&*file, pages, PAGE_BYTES as u64), Ok(()));
    let refused = [
        write(&*file, &pages[..PAGE_BYTES - 1], 0),
        write(&*file, &pages[1..=PAGE_BYTES], 0),
        write(&*file, pages, 512),
    ];
    assert_eq!(refused, [Err(ErrorKind::InvalidInput); 3]);
    let buffered = vfs
        .open(Path::new(FILE), OpenMode::Write { direct: false })
        .unwrap();
    assert_eq!(write(&*buffered, &pages[1..7], 3), Ok(()));
}

#[test]
fn files_that_grow_meet_the_end_of_the_disk() {
    let vfs = SimVfs::new(2);
    let file = create(&vfs, false);
    vfs.set_capacity(Some(10_000));
    file.allocate(8_000).unwrap();
    assert_eq!(write(&*file, &[1; 4_000], 5_000), Ok(()));
    assert_eq!(vfs.used(), 9_000);
    assert_eq!(
        write(&*file, &[1; 4_000], 7_000),
        Err(ErrorKind::StorageFull)
    );
    assert_eq!(
        file.allocate(11_000).unwrap_err().kind(),
        ErrorKind::StorageFull
    );
    // What is there already may be written as before.
    assert_eq!(write(&*file, &[2; 4_000], 5_000), Ok(()));
    vfs.set_capacity(None);
    assert_eq!(write(&*file, &[1; 4_000], 7_000), Ok(()));
}

#[test]
fn a_moment_can_be_kept_in_the_middle_of_something() {
    let vfs = SimVfs::new(3);
    let file = create(&vfs, false);
    write(&*file, b"synced", 0).unwrap();
    file.sync_data().unwrap();
    let (seen, now) = (vfs.clone(), vfs.steps());
    // The step is the sync of the second write: the disk can be read there, and may lose it yet.
    vfs.watch_steps(move |step| {
        assert!(seen.read(Path::new(FILE)).unwrap().starts_with(b"synced"));
        step == now + 2
    });
    write(&*file, b", and more", 6).unwrap();
    file.sync_data().unwrap();
    vfs.unwatch();
    let kept = vfs.take_kept().unwrap();
    assert!(vfs.take_kept().is_none(), "it is kept once");
    let lost = kept.crash(CrashPolicy::DropUnsynced, 0);
    assert_eq!(lost.read(Path::new(FILE)).unwrap(), b"synced");
    let after = vfs.snapshot().crash(CrashPolicy::DropUnsynced, 0);
    assert_eq!(after.read(Path::new(FILE)).unwrap(), b"synced, and more");
}

#[test]
fn a_failure_that_was_called_off_does_not_happen() {
    let vfs = SimVfs::new(4);
    let file = create(&vfs, false);
    vfs.fail_sync(1);
    vfs.fail_write(1);
    vfs.clear_failures();
    assert_eq!(write(&*file, b"all of it", 0), Ok(()));
    file.sync_data().unwrap();
}

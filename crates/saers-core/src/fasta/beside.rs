//! Indexes that lie beside the file they belong to.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// The name of a file's index: its own name with one more ending.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}

/// Writes an index under its final name only when it is whole.
///
/// An index saves time at the next opening and nothing else, so a folder that cannot be
/// written to (shared genomes usually lie in one) is no error. The folder's mode is honoured
/// for root too, whom the system would let through. Of several that write at once, each has
/// a draft of its own and the last one to finish stays.
pub(super) fn save_beside(path: &Path, bytes: &[u8]) {
    static DRAFTS: AtomicU64 = AtomicU64::new(0);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mode = std::fs::metadata(folder.unwrap_or(Path::new(".")));
    if !mode.is_ok_and(|mode| !mode.permissions().readonly()) {
        return;
    }
    let number = DRAFTS.fetch_add(1, Ordering::Relaxed);
    let draft = beside(path, &format!("{}-{number}.tmp", std::process::id()));
    let Ok(mut file) = File::create_new(&draft) else { return };
    let written = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::rename(&draft, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&draft);
    }
}

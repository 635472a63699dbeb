//! Real mails, where somebody has a folder of them. Benchmarks use them too.

use mailroom::mail::mbox::{self, StoredMail};
use std::path::Path;

/// Those of `MAILROOM_TEST_CORPUS` and the folders in it; none where it is not set.
pub fn real_mails() -> Vec<StoredMail> {
    let mut found = Vec::new();
    if let Some(folder) = std::env::var_os("MAILROOM_TEST_CORPUS") {
        mails_below(Path::new(&folder), &mut found);
    }
    found
}

fn mails_below(folder: &Path, found: &mut Vec<StoredMail>) {
    let mut entries: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            mails_below(&path, found);
        } else if path.file_name().is_some_and(|name| name != "manifest.tsv") {
            found.push(mbox::read_eml(&path).unwrap());
        }
    }
}

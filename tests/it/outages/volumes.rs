//! Storage that a test fills and empties. Where this machine lets us mount (as root, or in a user namespace of our own): two
//! small file systems in a namespace of one process, filled by a file each, so that the program gets ENOSPC. Elsewhere, and
//! in a test of its own: the largest file that the program may write is none (EFBIG, as with a quota), set from outside.

use super::Program;
use crate::crashes::PROGRAM;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// What runs out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    Database,
    Raw,
    Both,
}

/// How it runs out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// A real file system is full.
    Mounted,
    /// No file may grow.
    Limited,
}

/// Two volumes, `db` and `raw`.
pub struct Volumes {
    folder: TempDir,
    /// In whose namespace they are mounted.
    holder: Option<Holder>,
    ballast: Vec<PathBuf>,
}

struct Holder {
    process: Child,
    has_users: bool,
}

impl Drop for Holder {
    fn drop(&mut self) {
        // The file systems go with their last process.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Mounts both, says so, and stays until we are gone.
const HOLD: &str = r#"
mkdir "$1/db" "$1/raw" && mount -t tmpfs -o size="$2",mode=700 tmpfs "$1/db" && mount -t tmpfs -o size="$3",mode=700 tmpfs "$1/raw" || exit 1
echo mounted
read -r _
"#;

/// Runs a program that is told of files that are too large by an error, not by a signal.
const UNSIGNALLED: &str = r#"trap '' XFSZ; exec "$@""#;

impl Volumes {
    /// Mounted where that can be, of these sizes (as `mount` writes them); else limited, and it is said why.
    pub fn mounted(sizes: (&str, &str)) -> Self {
        for flags in ["--mount", "--user --map-root-user --mount"] {
            let folder = tempfile::tempdir().unwrap();
            if let Some(process) = hold(folder.path(), flags, sizes) {
                let holder = Holder {
                    process,
                    has_users: flags.contains("--user"),
                };
                return Self {
                    folder,
                    holder: Some(holder),
                    ballast: Vec::new(),
                };
            }
        }
        println!("nothing can be mounted here: EFBIG instead of ENOSPC, and both at once");
        Self::limited()
    }

    /// Two folders.
    pub fn limited() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["db", "raw"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        Self {
            folder,
            holder: None,
            ballast: Vec::new(),
        }
    }

    pub const fn how(&self) -> How {
        match self.holder {
            Some(_) => How::Mounted,
            None => How::Limited,
        }
    }

    /// A volume as the program sees it.
    pub fn inside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The same volume as we see it.
    pub fn outside(&self, name: &str) -> PathBuf {
        let inside = self.inside(name);
        let Some(holder) = &self.holder else {
            return inside;
        };
        let root = PathBuf::from(format!("/proc/{}/root", holder.process.id()));
        root.join(inside.strip_prefix("/").unwrap())
    }

    /// How the program is started so that it lives on these volumes.
    pub fn command(&self, verb: &str) -> Command {
        let mut command = match &self.holder {
            Some(holder) => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--target={}", holder.process.id()));
                if holder.has_users {
                    command.args(["--user", "--preserve-credentials"]);
                }
                command.arg("--mount");
                command
            }
            None => {
                let mut command = Command::new("sh");
                command.args(["-c", UNSIGNALLED, "unsignalled"]);
                command
            }
        };
        command.arg(PROGRAM).arg(verb);
        command
    }

    /// Not a byte more.
    pub fn fill(&mut self, which: Which, program: &Program) {
        if self.holder.is_none() {
            limit(program, "0:");
            return;
        }
        let names: &[&str] = match which {
            Which::Database => &["db"],
            Which::Raw => &["raw"],
            Which::Both => &["db", "raw"],
        };
        for name in names {
            let path = self.outside(name).join("ballast");
            let mut file = File::create(&path).unwrap();
            for size in [1 << 20, 4096, 1] {
                let block = vec![7_u8; size];
                while file.write(&block).is_ok_and(|written| written > 0) {}
            }
            self.ballast.push(path);
        }
    }

    /// There is space again.
    pub fn free(&mut self, program: &Program) {
        if self.holder.is_none() {
            limit(program, "unlimited:");
        }
        for path in self.ballast.drain(..) {
            std::fs::remove_file(path).unwrap();
        }
    }
}

fn hold(folder: &Path, flags: &str, (database, raw): (&str, &str)) -> Option<Child> {
    let mut process = Command::new("unshare")
        .args(flags.split(' '))
        .args(["sh", "-c", HOLD, "hold"])
        .arg(folder)
        .args([database, raw])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut line = String::new();
    let said = BufReader::new(process.stdout.as_mut()?).read_line(&mut line);
    if said.is_ok() && line == "mounted\n" {
        return Some(process);
    }
    process.wait().ok()?;
    None
}

/// The largest file that a running program may write.
fn limit(program: &Program, bytes: &str) {
    let status = Command::new("prlimit")
        .arg(format!("--pid={}", program.pid()))
        .arg(format!("--fsize={bytes}"))
        .status();
    assert!(status.unwrap().success(), "prlimit failed");
}

/// Copies a folder with all that lies in it.
pub fn copy(from: &Path, into: &Path) {
    std::fs::create_dir_all(into).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (from, into) = {
            let entry = entry.unwrap();
            (entry.path(), into.join(entry.file_name()))
        };
        if from.is_dir() {
            copy(&from, &into);
        } else {
            std::fs::copy(&from, &into).unwrap();
        }
    }
}

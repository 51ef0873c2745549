//! Temporary file systems: small, full, read-only, coarse, or cut off.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::support::process::{is_root, skip};

const INSIDE: &str = "OPENCODE_AUTH_TEST_INSIDE";

/// Runs a test's body in another process with its own mount namespace. Its mounts are invisible to others
/// and end with the process. `test` is the test's full name.
pub fn in_mount_namespace(test: &str, body: impl FnOnce()) {
    if env::var(INSIDE).is_ok_and(|inside| inside == test) {
        return body();
    }
    let unshare = || {
        let mut command = Command::new("unshare");
        command.arg("--mount");
        if !is_root() {
            command.arg("--map-root-user");
        }
        command
    };
    let probe = unshare().arg("true").stderr(Stdio::null()).status();
    if !probe.is_ok_and(|status| status.success()) {
        return skip(&format!("{test}: mount namespaces are not permitted here"));
    }
    let output = unshare()
        .arg(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(INSIDE, test)
        .output()
        .unwrap();
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// Mounts, and says whether that was permitted.
pub fn mount(arguments: &[&str], at: &Path) -> bool {
    let output = Command::new("mount").args(arguments).arg(at).output().unwrap();
    if !output.status.success() {
        skip(&format!(
            "mount {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    output.status.success()
}

/// A file system in a file.
pub struct Image {
    directory: TempDir,
    kind: &'static str,
}

impl Image {
    /// Makes one; `None`, with a message, where that cannot be.
    pub fn new(kind: &'static str, options: &[&str]) -> Option<Self> {
        if !is_root() {
            skip("file systems in files take root");
            return None;
        }
        let image = Self { directory: TempDir::new().unwrap(), kind };
        // The smallest that the program makes, in MiB, and its word for writing into a file.
        let (size, force) = match kind {
            "xfs" => (300, "-f"),
            "btrfs" => (120, "-f"),
            _ => (16, "-F"),
        };
        std::fs::File::create(image.path("image")).unwrap().set_len(size << 20).unwrap();
        let made = Command::new(format!("mkfs.{kind}"))
            .args(["-q", force])
            .args(options)
            .arg(image.path("image"))
            .stderr(Stdio::null())
            .status();
        if !made.is_ok_and(|status| status.success()) {
            skip(&format!("mkfs.{kind} is not there"));
            return None;
        }
        Some(image)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Mounts it, and says where.
    pub fn mount(&self) -> Option<PathBuf> {
        self.mount_file("image", "mounted")
    }

    /// Mounts what would be found after a power cut at this moment, and says where.
    pub fn mount_as_after_a_power_cut(&self, number: usize) -> Option<PathBuf> {
        let copy = format!("image-{number}");
        // It leaves the holes of a sparse file out.
        let copied = Command::new("cp").args([self.path("image"), self.path(&copy)]).status();
        assert!(copied.unwrap().success());
        self.mount_file(&copy, &format!("mounted-{number}"))
    }

    fn mount_file(&self, image: &str, at: &str) -> Option<PathBuf> {
        let (image, at) = (self.path(image), self.path(at));
        std::fs::create_dir(&at).unwrap();
        // A copy has the identity of its original, which is mounted too.
        let options = if self.kind == "xfs" { "loop,nouuid" } else { "loop" };
        mount(&["-t", self.kind, "-o", options, image.to_str().unwrap()], &at).then_some(at)
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // Else the directory cannot be removed.
        for entry in self.directory.path().read_dir().into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                let _ = Command::new("umount").arg(entry.path()).stderr(Stdio::null()).status();
            }
        }
    }
}

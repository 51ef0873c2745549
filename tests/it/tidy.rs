//! Rules about the source that people forget.

mod imports;

use std::fs;
use std::path::{Path, PathBuf};

use self::imports::Imports;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file under a directory, in order. A crate that was unpacked without it has none.
fn files(directory: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![root().join(directory)];
    while let Some(directory) = waiting.pop() {
        let Ok(entries) = fs::read_dir(directory) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() { waiting.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

/// Name and content of each Rust file under a directory.
fn sources(directory: &str) -> Vec<(String, String)> {
    let rust = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "rs");
    let read = |path: PathBuf| {
        let name = path.strip_prefix(root()).unwrap().display().to_string().replace('\\', "/");
        (name, fs::read_to_string(path).unwrap())
    };
    files(directory).into_iter().filter(rust).map(read).collect()
}

/// The part of a file that is shipped: without its unit tests and its comments.
fn shipped(content: &str) -> String {
    let tests = regex::Regex::new(r"\n#\[cfg\((test|all\(test, .*\))\)\]\nmod tests \{").unwrap();
    let code = tests.find(content).map_or(content, |tests| &content[..tests.start()]);
    let code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_module_is_named_by_its_file() {
    let named_mod = |path: &PathBuf| path.file_name().is_some_and(|name| name == "mod.rs");
    let found: Vec<_> = ["src", "tests", "examples", "benches"]
        .into_iter()
        .flat_map(files)
        .filter(named_mod)
        .collect();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn version_and_msrv_are_written_once() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let value = |key: &str| {
        let line = manifest.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.trim_matches([' ', '=', '"']).to_owned()
    };
    let (version, msrv) = (value("version"), value("rust-version"));
    let mut prose: Vec<PathBuf> = fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        // It says which version brought what.
        .filter(|path| !path.ends_with("CHANGELOG.md"))
        .collect();
    prose.push(root().join("src/lib.rs"));
    for path in prose {
        let content = fs::read_to_string(&path).unwrap();
        for repeated in [
            format!("opencode-auth = \"{version}"),
            format!("Rust {msrv}"),
            format!("rustc {msrv}"),
        ] {
            assert!(!content.contains(&repeated), "{} repeats `{repeated}`", path.display());
        }
    }
}

/// The rooms of the house from the ground up. A file imports from its own room and from those above it in
/// this list, never from one below.
const ROOMS: &[&[&str]] = &[
    &["redact", "shell", "timestamp", "permission", "hex"],
    &["token"],
    &["record"],
    &["policy"],
    &["store"],
    &["carrier", "decision", "unguarded"],
    &["watch"],
    &["principal"],
    &["credentials", "origin"],
    &["stream", "drain", "upload"],
    &["response", "event"],
    &["guard"],
    &["future"],
    &["service"],
    &["layer"],
    &["cli"],
    &["gateway"],
    &["fuzzing"],
];

#[test]
fn no_two_files_import_each_other() {
    assert_eq!(Imports::read().circles(), []);
}

#[test]
fn imports_go_down() {
    let floor = |module: &str| {
        let room = module.split("::").next().unwrap();
        let floor = ROOMS.iter().position(|rooms| rooms.contains(&room));
        floor.unwrap_or_else(|| panic!("the room `{room}` has no place in ROOMS"))
    };
    let mut arrows = 0;
    for (from, targets) in Imports::read().arrows {
        // The crate's root re-exports and imports nothing.
        if from.is_empty() {
            continue;
        }
        for to in targets {
            // The gateway is a host of the library, so it imports what other hosts do.
            if from.starts_with("gateway") && to.is_empty() {
                continue;
            }
            assert!(!to.is_empty(), "{from} imports from the crate's root");
            assert!(floor(&to) <= floor(&from), "{from} imports from {to}, which is above it");
            arrows += 1;
        }
    }
    assert!(arrows > 50, "only {arrows} imports were found");
}

/// The gateway is a host of the library. What it uses must be open to other hosts too.
#[test]
fn gateway_uses_the_public_interface() {
    let path = regex::Regex::new(r"\bcrate::([a-z_]+)").unwrap();
    for (name, content) in sources("src/gateway") {
        for found in path.captures_iter(&content) {
            let module = &found[1];
            assert!(["gateway", "cli"].contains(&module), "{name} uses crate::{module}");
        }
    }
}

/// `(files that begin so, crates that they do not know)`.
const UNKNOWN_CRATES: [(&[&str], &[&str]); 3] = [
    (
        &["src/permission", "src/redact", "src/timestamp", "src/token", "src/record", "src/store"],
        &["axum::", "tower::"],
    ),
    (&["src/policy"], &["tower::"]),
    (&["src/cli/check", "src/cli/commands", "src/cli/table"], &["axum::", "tower::"]),
];

#[test]
fn tokens_and_stores_know_no_http() {
    for (name, content) in sources("src") {
        let code = shipped(&content);
        for (files, unknown) in UNKNOWN_CRATES {
            if files.iter().any(|file| name.starts_with(file)) {
                for unknown in unknown {
                    assert!(!code.contains(unknown), "{name} knows `{unknown}`");
                }
            }
        }
    }
}

#[test]
fn only_the_store_and_the_commands_touch_a_disk() {
    for (name, content) in sources("src") {
        if ["src/store", "src/cli", "src/gateway/log.rs"].iter().any(|may| name.starts_with(may)) {
            continue;
        }
        let code = shipped(&content);
        for call in ["std::fs", "fs::File", "File::open", "tempfile::", "rustix::fs", "OpenOptions"]
        {
            assert!(!code.contains(call), "{name} uses `{call}`");
        }
    }
}

#[test]
fn time_is_an_argument() {
    for (name, content) in sources("src") {
        if [
            "src/guard.rs",
            "src/watch.rs",
            "src/store",
            "src/credentials/ticket.rs",
            "src/cli",
            "src/gateway",
            "src/bin",
        ]
        .iter()
        .any(|may| name.starts_with(may))
        {
            continue;
        }
        let code = shipped(&content);
        for clock in ["::now(", "now_utc", "elapsed("] {
            assert!(!code.contains(clock), "{name} reads a clock: `{clock}`");
        }
    }
}

#[test]
fn unsafe_is_forbidden_and_exceptions_have_reasons() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(manifest.contains("unsafe_code = \"forbid\""));
    for (name, content) in sources("src") {
        for (start, _) in
            content.match_indices("#[expect(").chain(content.match_indices("#[allow("))
        {
            let attribute = content[start..].split(")]").next().unwrap();
            assert!(attribute.contains("reason = "), "{name}: {attribute}");
        }
    }
}

#[test]
fn nothing_depends_on_one_machine() {
    let mut paths: Vec<PathBuf> =
        ["src", "tests", "examples", "benches", "scripts", "fuzz/fuzz_targets"]
            .into_iter()
            .flat_map(files)
            .collect();
    paths.extend(
        fs::read_dir(root())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file()),
    );
    // Put together, so that this file does not hold them.
    let places = ["root", "work", "Users"].map(|place| format!("/{place}/"));
    for path in paths {
        let Ok(content) = fs::read_to_string(&path) else { continue };
        // Where the worktree's own administration is, is no part of the source.
        if path.ends_with(".git") {
            continue;
        }
        for place in &places {
            let found = content.match_indices(place.as_str()).any(|(at, _)| {
                // `https://host/root/` is an address, and `a/work/b` no absolute path.
                content[..at].chars().next_back().is_none_or(|before| !before.is_alphanumeric())
            });
            assert!(!found, "{} names a place under {place}", path.display());
        }
    }
}

//! The audit of both versions. The policy's tables have to agree with it.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use axum::http::{Method, Request};
use opencode_auth::{Permissions, Policy, Requirement};

/// One operation of a server as the audit found it.
#[derive(Clone, Debug)]
pub(crate) struct Audited {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) name: String,
    pub(crate) required: Permissions,
}

/// Every operation of both versions. An operation of both has the name that 1.18 gives it.
pub(crate) static AUDIT: LazyLock<Vec<Audited>> = LazyLock::new(|| {
    let mut rows: Vec<Audited> = Vec::new();
    for row in V1.iter().chain(&*V2) {
        match rows.iter_mut().find(|other| other.method == row.method && other.path == row.path) {
            None => rows.push(row.clone()),
            Some(other) => {
                if other.required != row.required {
                    println!("{} {}: 1.18 and 2.0 disagree, so both count", row.method, row.path);
                }
                other.required |= row.required;
            }
        }
    }
    rows
});

static V1: LazyLock<Vec<Audited>> =
    LazyLock::new(|| read(include_str!("../fixtures/opencode-operations.json")));
pub(crate) static V2: LazyLock<Vec<Audited>> =
    LazyLock::new(|| read(include_str!("../fixtures/opencode-v2-operations.json")));

fn read(text: &str) -> Vec<Audited> {
    let rows: Vec<serde_json::Value> = serde_json::from_str(text).unwrap();
    let word = |row: &serde_json::Value, field: &str| row[field].as_str().unwrap().to_owned();
    rows.iter()
        .map(|row| Audited {
            method: word(row, "method").parse().unwrap(),
            path: word(row, "path").replace("/*", "/{*rest}"),
            name: word(row, "operation"),
            required: row["needs"]
                .as_array()
                .unwrap()
                .iter()
                .map(|word| word.as_str().unwrap().parse::<Permissions>().unwrap())
                .fold(Permissions::NONE, Permissions::union),
        })
        .collect()
}

impl Audited {
    /// A path that calls this operation. Identifiers are like opencode's: `ses_1aZ` begins as `status` does.
    pub(crate) fn example(&self) -> String {
        let segments: Vec<_> = self
            .path
            .split('/')
            .map(|segment| match segment.strip_prefix('{') {
                Some("*rest}") => "src/main.rs".to_owned(),
                Some(name) => format!("{}_1aZ", &name[..3.min(name.len() - 1)]),
                None => segment.to_owned(),
            })
            .collect();
        segments.join("/")
    }

    /// The methods that call this operation.
    pub(crate) fn methods(&self) -> Vec<Method> {
        match self.method {
            Method::GET => vec![Method::GET, Method::HEAD],
            _ => vec![self.method.clone()],
        }
    }
}

/// What a policy requires. Nothing is public in these tests, unless a test says so.
#[track_caller]
pub(crate) fn required(policy: &Policy, method: &Method, path: &str) -> Permissions {
    let request = Request::builder().method(method).uri(path).body(()).unwrap();
    match policy.decide(&request).requirement {
        Requirement::Permissions(required) => required,
        other => panic!("{method} {path}: {other:?}"),
    }
}

fn rows(audit: &[Audited]) -> BTreeSet<(&str, &str, String)> {
    audit.iter().map(|row| (&*row.path, row.method.as_str(), row.required.to_string())).collect()
}

#[test]
fn tables_are_those_of_the_audit() {
    let (both, v2) = (Policy::opencode(), Policy::opencode_v2());
    for (table, audit, expected) in [
        (both.operations().collect::<Vec<_>>(), &*AUDIT, 285),
        (v2.operations().collect(), &*V2, 143),
    ] {
        let table: BTreeSet<_> = table
            .iter()
            .map(|row| (row.path(), row.method().as_str(), row.required().to_string()))
            .collect();
        let audit = rows(audit);
        let missing: Vec<_> = audit.difference(&table).collect();
        let surplus: Vec<_> = table.difference(&audit).collect();
        assert!(
            missing.is_empty() && surplus.is_empty(),
            "missing {missing:#?}, surplus {surplus:#?}"
        );
        assert_eq!(table.len(), expected);
    }
    assert_eq!(Policy::default().operations().count(), 0);
}

#[test]
fn operations_name_the_versions_that_they_were_audited_for() {
    let policy = Policy::opencode();
    let count = |versions: &[&str]| {
        policy.operations().filter(|operation| operation.audited_for() == versions).count()
    };
    assert_eq!((count(&["1.18"]), count(&["2.0"]), count(&["1.18", "2.0"])), (142, 97, 46));
    for row in &*AUDIT {
        let known = policy
            .operations()
            .find(|known| known.method() == row.method && known.path() == row.path)
            .unwrap();
        assert_eq!(known.name(), row.name);
        assert_eq!(known.is_experimental(), row.path.contains("/experimental/"), "{}", row.path);
    }
}

#[test]
fn numbers_in_the_documentation_are_true() {
    for (required, expected) in [
        (Permissions::READ, 125),
        (Permissions::WRITE, 78),
        (Permissions::WRITE | Permissions::EXECUTE, 75),
        (Permissions::READ | Permissions::EXECUTE, 3),
        (Permissions::ALL, 4),
    ] {
        let found = AUDIT.iter().filter(|row| row.required == required).count();
        assert_eq!(found, expected, "{required}");
    }
}

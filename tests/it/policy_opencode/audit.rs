//! The audit, and that the table says what it says.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use axum::http::{Method, Request};
use opencode_auth::{Permissions, Policy, Requirement};

/// One operation of the server as the audit found it.
#[derive(Debug)]
pub(crate) struct Audited {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) name: String,
    pub(crate) needs: Permissions,
}

/// Every operation of the server.
pub(crate) static AUDIT: LazyLock<Vec<Audited>> = LazyLock::new(|| {
    let text = include_str!("../fixtures/opencode-operations.json");
    let rows: Vec<serde_json::Value> = serde_json::from_str(text).unwrap();
    let word = |row: &serde_json::Value, key: &str| row[key].as_str().unwrap().to_owned();
    rows.iter()
        .map(|row| Audited {
            method: word(row, "method").parse().unwrap(),
            path: word(row, "path").replace("/*", "/{*rest}"),
            name: word(row, "operation"),
            needs: row["needs"]
                .as_array()
                .unwrap()
                .iter()
                .map(|word| word.as_str().unwrap().parse::<Permissions>().unwrap())
                .fold(Permissions::NONE, Permissions::union),
        })
        .collect()
});

impl Audited {
    /// A path that asks for this operation. Identifiers are like opencode's: `ses_1aZ` begins as `status` does.
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

    /// The methods that ask for this operation.
    pub(crate) fn methods(&self) -> Vec<Method> {
        match self.method {
            Method::GET => vec![Method::GET, Method::HEAD],
            _ => vec![self.method.clone()],
        }
    }
}

/// What a policy asks for. Nothing is public in these tests, unless a test says so.
#[track_caller]
pub(crate) fn needs(policy: &Policy, method: &Method, path: &str) -> Permissions {
    let request = Request::builder().method(method).uri(path).body(()).unwrap();
    match policy.decide(&request).requirement {
        Requirement::Permissions(needs) => needs,
        other => panic!("{method} {path}: {other:?}"),
    }
}

#[test]
fn the_table_is_the_audit() {
    let audited: BTreeSet<_> = AUDIT
        .iter()
        .map(|row| (&*row.path, row.method.as_str(), &*row.name, row.needs.to_string()))
        .collect();
    let table: BTreeSet<_> = Policy::opencode()
        .operations()
        .iter()
        .map(|row| (row.path(), row.method().as_str(), row.name(), row.required().to_string()))
        .collect();
    let missing: Vec<_> = audited.difference(&table).collect();
    let surplus: Vec<_> = table.difference(&audited).collect();
    assert!(missing.is_empty() && surplus.is_empty(), "missing {missing:#?}, surplus {surplus:#?}");
    assert_eq!(Policy::opencode().operations().len(), AUDIT.len());
    assert!(Policy::default().operations().is_empty());
}

#[test]
fn the_numbers_in_the_documentation_are_true() {
    let with_execute = |needs: Permissions| needs.contains(Permissions::EXECUTE);
    let by_rule = Policy::default();
    let by_rule = |row: &Audited| needs(&by_rule, &row.method, &row.example());
    let count = |wanted: &dyn Fn(&Audited) -> bool| AUDIT.iter().filter(|row| wanted(row)).count();

    assert_eq!(AUDIT.len(), 188);
    for (needs, expected) in [
        (Permissions::READ, 87),
        (Permissions::WRITE, 55),
        (Permissions::WRITE | Permissions::EXECUTE, 44),
        (Permissions::READ | Permissions::EXECUTE, 2),
    ] {
        assert_eq!(count(&|row| row.needs == needs), expected, "{needs}");
    }
    let left_open = count(&|row| with_execute(row.needs) && !with_execute(by_rule(row)));
    let closed_needlessly = count(&|row| !with_execute(row.needs) && with_execute(by_rule(row)));
    assert_eq!((left_open, closed_needlessly), (34, 23));
}

//! The tables of opencode's operations, ready for look-up.

use std::fmt;
use std::sync::LazyLock;

use axum::http::Method;

use super::operation::{Operation, Row};
use super::pattern::{PatternError, Routes, Segment};
use super::{opencode_v1, opencode_v2};

/// A table of one version of opencode, and that version.
type Versioned = (&'static str, &'static [Row]);

const V1: Versioned = ("1.18", opencode_v1::OPERATIONS);
const V2: Versioned = ("2.0", opencode_v2::OPERATIONS);

/// Operations by method and path.
#[derive(Default)]
pub(super) struct OperationTable(Routes<Operation>);

impl OperationTable {
    /// Both versions. If a table were invalid, no operation would be known, which closes everything.
    pub(super) fn opencode() -> &'static Self {
        static TABLE: LazyLock<OperationTable> =
            LazyLock::new(|| OperationTable::new(&[V1, V2]).unwrap_or_default());
        &TABLE
    }

    /// Version 2.0 alone.
    pub(super) fn opencode_v2() -> &'static Self {
        static TABLE: LazyLock<OperationTable> =
            LazyLock::new(|| OperationTable::new(&[V2]).unwrap_or_default());
        &TABLE
    }

    fn new(tables: &[Versioned]) -> Result<Self, PatternError> {
        let mut routes = Routes::default();
        for (version, rows) in tables {
            for row in *rows {
                let operation = Operation::audited(row, version)?;
                let pattern = operation.segments().to_vec();
                if let Err(other) = routes.insert(&row.method, &pattern, operation) {
                    other.merge(row, version);
                }
            }
        }
        Ok(Self(routes))
    }

    pub(super) fn operations(&self) -> &[Operation] {
        self.0.values()
    }

    /// Whether an operation has exactly this pattern and serves the method.
    pub(super) fn serves(&self, method: &Method, pattern: &[Segment]) -> bool {
        self.0.serves(method, pattern)
    }

    /// The operation of this method and path. The path is compared as it was sent.
    pub(super) fn find(&self, method: &Method, path: &str) -> Option<&Operation> {
        self.0.find(method, path)
    }
}

impl fmt::Debug for OperationTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OperationTable({} operations)", self.operations().len())
    }
}

//! One integration test binary: each module is one kind of behaviour.

mod policy_opencode;

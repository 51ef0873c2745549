//! `Policy::opencode()`: the audit of the server's operations is the test.

mod audit;
mod decisions;
mod overlap;
mod server;
mod variants;

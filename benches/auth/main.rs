//! What the layer costs, beside the least that a check of one token can cost.
//!
//! `cargo bench --bench auth` measures each case with criterion, and ends with a table of ratios whose
//! cases were measured in turn, round by round, so that whatever else the machine does meets all of
//! them. `cargo bench --bench auth -- --test` runs each case once; `-- --ratios` prints the table alone.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    unreachable_pub,
    reason = "a benchmark is a program for people, and ends where it cannot go on"
)]

mod cases;
mod ratios;
#[path = "../store_file.rs"]
mod store_file;

use criterion::Criterion;

fn main() {
    let has = |option: &str| std::env::args().any(|argument| argument == option);
    let cases = cases::Cases::new();
    if !has("--ratios") {
        let mut criterion = Criterion::default().configure_from_args();
        for group in cases.groups() {
            let mut measured = criterion.benchmark_group(group.name);
            for case in group.cases {
                measured.bench_function(&case.name, |bencher| bencher.iter_custom(&case.run));
            }
            measured.finish();
        }
        criterion.final_summary();
    }
    if !has("--test") {
        ratios::print(&cases);
    }
}

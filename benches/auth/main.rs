//! What the layer costs, compared with the cheapest possible check of one token.
//!
//! `cargo bench --bench auth` measures each case with criterion, and ends with a table of ratios. For
//! the ratios, the cases are measured in turn, round by round, so that other load on the machine affects all
//! of them. `-- --test` runs each case once; `-- --ratios` prints the table alone; `-- --case <name> <times>`
//! runs one case that many times, for a profiler (see `scripts/instructions.sh`).
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::result_large_err,
    unreachable_pub,
    reason = "a benchmark is a program for people, and ends where it cannot go on; tower-http chose what a \
              denial is"
)]

mod cases;
mod ratios;
#[path = "../store_file.rs"]
mod store_file;

use criterion::Criterion;

use crate::cases::Cases;

const SIZES: [(&str, usize); 3] =
    [("1 token", 1), ("1,000 tokens", 1_000), ("100,000 tokens", 100_000)];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(option) = arguments.iter().position(|argument| argument == "--case") {
        return repeat(&arguments[option + 1], arguments[option + 2].parse().unwrap());
    }
    let has = |option: &str| arguments.iter().any(|argument| argument == option);
    let cases = Cases::new(&SIZES);
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

/// Does one thing so many times.
fn repeat(name: &str, times: u64) {
    let cases = Cases::new(&SIZES[..1]);
    let groups = cases.groups();
    let mut cases = groups.iter().flat_map(|group| group.cases);
    let case = cases.find(|case| case.name == name).unwrap_or_else(|| panic!("no case `{name}`"));
    println!("{name}: {:?}", (case.run)(times));
}

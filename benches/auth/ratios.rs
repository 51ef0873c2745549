//! The table of ratios. Its cases are measured in turn.

use crate::cases::{BARE, Case, Cases, DIGEST, NOTHING, STATIC};

const ROUNDS: usize = 200;
/// Long enough for the clock, and short enough to fit between other work of the machine.
const TIMES: u64 = 1_000;
/// Starting threads takes a while, so they get more to do.
const TIMES_ON_THREADS: u64 = 5_000;

/// Prints for each case the median of its times and of its ratios to the other cases of the same round.
pub fn print(cases: &Cases) {
    let [requests, carriers, denials, decisions, threads] = cases.groups();
    let alone: Vec<&Case> =
        requests.cases.iter().chain(carriers.cases).chain(denials.cases).collect();
    table("requests", &alone, TIMES, &[BARE, STATIC, "layer, 1 token"]);
    let decisions: Vec<&Case> = decisions.cases.iter().collect();
    table("decisions", &decisions, TIMES, &[DIGEST, NOTHING, "decision, 1 token"]);
    let threads: Vec<&Case> = threads.cases.iter().collect();
    table(
        "threads (the slower one)",
        &threads,
        TIMES_ON_THREADS,
        &["bare router, one thread", "layer, one thread", "layer, two threads, nothing shared"],
    );
}

fn table(title: &str, cases: &[&Case], times: u64, bases: &[&str]) {
    let mut nanoseconds = vec![Vec::with_capacity(ROUNDS); cases.len()];
    for round in 0..ROUNDS {
        // No case is always first, or always behind the same other.
        for turn in 0..cases.len() {
            let turned = (turn + round) % cases.len();
            let position = if round % 2 == 0 { turned } else { cases.len() - 1 - turned };
            let elapsed = (cases[position].run)(times);
            nanoseconds[position].push(elapsed.as_nanos() as f64 / times as f64);
        }
    }
    println!("\n| {title} | ns | {} |", bases.join(" = 1 | ") + " = 1");
    println!("|---|--:|{}", "--:|".repeat(bases.len()));
    for (case, own) in cases.iter().zip(&nanoseconds) {
        let ratios: Vec<String> = bases
            .iter()
            .map(|base| {
                let base = cases.iter().position(|case| case.name == *base).unwrap();
                let ratios = own.iter().zip(&nanoseconds[base]).map(|(own, base)| own / base);
                format!("{:.2}", median(ratios.collect()))
            })
            .collect();
        println!("| {} | {:.0} | {} |", case.name, median(own.clone()), ratios.join(" | "));
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

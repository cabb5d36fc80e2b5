//! Benchmarks of medhook and other crates in one process: `scripts/bench [--json FILE] [part..]`.
//!
//! Every figure is a median of many short rounds in which all subjects take turns, so that other load on the machine
//! affects all of them alike. `docs/performance.md` explains the results.

mod apps;
mod by_hand;
mod event;
mod growth;
mod in_process;
mod inbox;
mod loopback;
mod peers;
mod report;
mod rounds;
mod scale;
mod setting;
mod signed;
mod stores;
mod verify;

use std::process::ExitCode;

use report::Report;

type Part = fn(&mut Report);

const PARTS: &[(&str, Part)] = &[
    ("verify", verify::run),
    ("event", event::run),
    ("in-process", in_process::run),
    ("http", loopback::run),
    ("scale", scale::run),
    ("stores", stores::run),
    ("inbox", inbox::run),
];

/// The parts that run only if they are named, because they take minutes.
const LONG_PARTS: &[(&str, Part)] = &[("growth", growth::run)];

fn main() -> ExitCode {
    let mut json = None;
    let mut wanted = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // `scale` starts this process.
            "keep-idle" => match arguments.next().and_then(|server| server.parse().ok()) {
                Some(server) => {
                    scale::keep_idle(server);
                    return ExitCode::SUCCESS;
                }
                None => return usage("keep-idle needs an address"),
            },
            "--json" => match arguments.next() {
                Some(file) => json = Some(file),
                None => return usage("--json needs a file"),
            },
            name => match PARTS.iter().chain(LONG_PARTS).find(|(part, _)| *part == name) {
                Some(part) => wanted.push(part),
                None => return usage(&format!("{name} is no part")),
            },
        }
    }
    if wanted.is_empty() {
        wanted.extend(PARTS);
    }

    let mut report = Report::default();
    for (name, part) in wanted {
        eprintln!("bench: {name}");
        report.begin(name);
        part(&mut report);
    }
    print!("{}", report.markdown());
    if let Some(file) = json
        && let Err(error) = std::fs::write(&file, report.json())
    {
        eprintln!("bench: {file}: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn usage(problem: &str) -> ExitCode {
    let parts: Vec<_> = PARTS.iter().chain(LONG_PARTS).map(|(name, _)| *name).collect();
    eprintln!("bench: {problem}\nusage: scripts/bench [--json FILE] [{}]..", parts.join("|"));
    ExitCode::from(2)
}

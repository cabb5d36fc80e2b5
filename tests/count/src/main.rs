//! Counts instructions and allocations per delivery: `scripts/count [--store | --functions ROW]`.
//!
//! For each row, through medhook and by hand, this program starts itself again under valgrind's callgrind, which counts
//! what is executed in [`counted`]. No time is measured, so the counts are the same whatever else the machine does.
//! Allocations are counted by a program of their own.
//!
//! Each run counts a control, too: `verify` with [`added_work`](medhook_count::added_work). Its count must be higher by the
//! size of that work, and the comparison with a stored table must fail for it.

mod callgrind;
mod table;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::{env, fs, thread};

use callgrind::Profile;
use medhook_count::{CONTROL, LENGTHS, MAC, MAC_COMPRESSIONS, ROWS, counted, length_ended, warmed_up};
use table::{Counts, Machine, Row, Table};

const STORED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/table.toml");
const MEDHOOK: &str = "medhook";
const BY_HAND: &str = "by-hand";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        [] => compare(),
        ["--store"] => store(),
        ["--functions", row] if ROWS.contains(&row) => functions(row),
        ["deliver", row, side] => deliver(row, side),
        _ => {
            eprintln!("usage: scripts/count [--store | --functions ROW]\nROW is one of: {}", ROWS.join(", "));
            return ExitCode::from(2);
        }
    };
    result.unwrap_or_else(|problem| {
        eprintln!("count: {problem}");
        ExitCode::FAILURE
    })
}

/// Runs a row, under callgrind.
fn deliver(row: &str, side: &str) -> Result<ExitCode, String> {
    let mut subject = warmed_up(row, side == BY_HAND).ok_or_else(|| format!("no row {row:?}"))?;
    for deliveries in LENGTHS {
        for _ in 0..deliveries {
            subject.prepare();
            counted(&mut *subject);
        }
        length_ended();
    }
    Ok(ExitCode::SUCCESS)
}

fn compare() -> Result<ExitCode, String> {
    let now = measure()?;
    print!("{}", now.printed());
    let stored =
        fs::read_to_string(STORED).map_err(|error| format!("{STORED}: {error}; scripts/count --store writes it"))?;
    let stored = Table::read(&stored).map_err(|error| format!("{STORED}: {error}"))?;
    let found = now.compare(&stored);
    if found.differences.is_empty() {
        println!("\nAll counts are as stored.");
        return Ok(ExitCode::SUCCESS);
    }
    println!("\nDifferences from the stored table:");
    found.differences.iter().for_each(|line| println!("  {line}"));
    let (here, there) = (&now.machine, &stored.machine);
    if here != there {
        println!("\nThe table was stored on another machine, so differences are no failure:");
        for (what, here, there) in
            [("rustc", &here.rustc, &there.rustc), ("glibc", &here.glibc, &there.glibc), ("CPU", &here.cpu, &there.cpu)]
        {
            println!("  {what}: {here}, stored {there}");
        }
        return Ok(ExitCode::SUCCESS);
    }
    if found.failures.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "\nFAIL: more than 1 % above the stored table. If that is intended, run `scripts/count --store` and say why."
    );
    found.failures.iter().for_each(|line| println!("  {line}"));
    Ok(ExitCode::FAILURE)
}

fn store() -> Result<ExitCode, String> {
    let now = measure()?;
    print!("{}", now.printed());
    fs::write(STORED, now.stored()).map_err(|error| format!("{STORED}: {error}"))?;
    println!("\nStored in {STORED}.");
    Ok(ExitCode::SUCCESS)
}

/// Prints the most expensive functions of a row.
fn functions(row: &str) -> Result<ExitCode, String> {
    let sides = [(row, MEDHOOK), (row, BY_HAND)];
    for ((_, side), profile) in sides.iter().zip(profiles(&sides)?) {
        println!("{row}, {side}: instructions per delivery in each function by itself");
        for (name, count) in profile.functions().iter().take(40) {
            println!("{count:10.1}  {name}");
        }
        println!();
    }
    Ok(ExitCode::SUCCESS)
}

fn measure() -> Result<Table, String> {
    let machine = Machine::this();
    let mut sides: Vec<_> = ROWS.iter().flat_map(|row| [(*row, MEDHOOK), (*row, BY_HAND)]).collect();
    sides.extend([(MAC, MEDHOOK), (CONTROL, MEDHOOK)]);
    let profiles = profiles(&sides)?;
    let [.., mac, control] = &profiles[..] else { unreachable!("there is one for each side") };
    let of_one = mac.sha2() / MAC_COMPRESSIONS as f64;
    // 64 rounds, each of more than ten operations. Less would be another function's share.
    if of_one < 640.0 {
        return Err(format!(
            "only {of_one:.0} instructions for a compression: callgrind does not see sha2's functions"
        ));
    }
    let mut counts = Vec::new();
    for ((row, side), profile) in sides.iter().zip(&profiles).take(2 * ROWS.len()) {
        let compressions = (profile.sha2() / of_one).round();
        // A row without a MAC of the body, as of a token, has none that the MAC could account for. The MACs of all
        // others have as many: a message without an id is shorter, but not by a block.
        let mac = MAC_COMPRESSIONS as f64;
        let beyond = if compressions < mac { compressions.abs() } else { compressions - mac };
        let (allocations, bytes) = allocations(row, side)?;
        counts.push(Counts { instructions: profile.outside_sha2(), compressions: beyond, allocations, bytes });
    }
    let rows = ROWS.iter().zip(counts.chunks_exact(2));
    let rows = rows.map(|(name, sides)| ((*name).to_owned(), Row { medhook: sides[0], by_hand: sides[1] }));
    let table = Table { machine, rows: rows.collect() };
    check_control(&table, control)?;
    Ok(table)
}

/// Checks that added work raises the count by its own size, and that the gate would fail for it.
fn check_control(table: &Table, control: &Profile) -> Result<(), String> {
    let verify = ROWS[0];
    let mut slower = table.clone();
    let row = slower.rows.get_mut(verify).ok_or("no row for verify")?;
    let (without, with) = (row.medhook.instructions, control.outside_sha2());
    let added = control.of("medhook_count::added_work");
    // The call takes a few instructions more.
    if added < 100.0 || (with - without - added).abs() > 20.0 {
        return Err(format!("{added:.0} instructions were added to {without:.0}, but {with:.0} were counted"));
    }
    row.medhook.instructions = with;
    if slower.compare(table).failures.len() != 1 {
        return Err(format!("{with:.0} instructions instead of {without:.0} would pass"));
    }
    Ok(())
}

/// Counts each row in three processes, as many at a time as there are processors, and returns the median of the three.
///
/// actix-web's hash tables have random seeds, which move the counts of its rows by some hundredths of a percent. All
/// other rows have the same count in every process.
fn profiles(sides: &[(&str, &str)]) -> Result<Vec<Profile>, String> {
    const PROCESSES: usize = 3;
    let folder = env::temp_dir().join(format!("medhook-count-{}", std::process::id()));
    let (next, counted) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let work = || {
        loop {
            let process = next.fetch_add(1, Ordering::Relaxed);
            let Some((row, side)) = sides.get(process / PROCESSES) else { break };
            let folder = folder.join(process.to_string());
            let profile = created(&folder).and_then(|()| Profile::measure(row, side, &folder));
            counted.lock().unwrap_or_else(PoisonError::into_inner).insert(process, profile);
        }
    };
    thread::scope(|scope| {
        let workers = thread::available_parallelism().map_or(1, usize::from);
        (0..workers).for_each(|_| drop(scope.spawn(work)));
    });
    let _ = fs::remove_dir_all(&folder);
    let counted = counted.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut profiles = counted.into_values().collect::<Result<Vec<_>, _>>()?.into_iter();
    Ok(sides.iter().filter_map(|_| median(profiles.by_ref().take(PROCESSES).collect())).collect())
}

fn median(mut profiles: Vec<Profile>) -> Option<Profile> {
    profiles.sort_by(|one, other| one.outside_sha2().total_cmp(&other.outside_sha2()));
    let middle = profiles.len() / 2;
    profiles.into_iter().nth(middle)
}

fn created(folder: &Path) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))
}

/// Returns allocations and bytes per delivery.
fn allocations(row: &str, side: &str) -> Result<(f64, f64), String> {
    let program = env::current_exe().map_err(|error| format!("cannot find the path of this program: {error}"))?;
    let program = program.with_file_name("medhook-count-allocations");
    let output = Command::new(&program).args([row, side]).output();
    let output = output.map_err(|error| format!("cannot start {}: {error}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut numbers = text.split_whitespace().map_while(|word| word.parse::<f64>().ok());
    let deliveries = (LENGTHS[1] - LENGTHS[0]) as f64;
    match (output.status.success(), numbers.next(), numbers.next()) {
        (true, Some(allocations), Some(bytes)) => Ok((allocations / deliveries, bytes / deliveries)),
        _ => Err(format!("{row}: allocations: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr))),
    }
}

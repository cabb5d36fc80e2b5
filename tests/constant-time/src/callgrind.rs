//! Runs this program again, under callgrind.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

/// Returns the instructions executed within `function`, for each call of it, in order.
pub fn counts(argument: &str, function: &str) -> Result<Vec<u64>, String> {
    let folder = env::temp_dir().join(format!("medhook-constant-time-{}", std::process::id()));
    fs::create_dir_all(&folder).map_err(|error| format!("cannot create a folder for callgrind's files: {error}"))?;
    let counts = run(argument, function, &folder).and_then(|()| read(&folder));
    let _ = fs::remove_dir_all(&folder);
    counts
}

/// Selects the C library's comparison that stops soonest, so that no wide instruction hides a difference, and keeps
/// freed blocks apart, so that none is merged with its neighbors within a count.
const GLIBC_TUNABLES: &str = "glibc.cpu.hwcaps=-AVX2,-AVX2_Usable,-AVX512VL,-AVX512BW,-MOVBE,-SSE4_1:\
    glibc.malloc.tcache_count=65535:glibc.malloc.mxfast=0";

fn run(argument: &str, function: &str, folder: &Path) -> Result<(), String> {
    let program = env::current_exe().map_err(|error| format!("cannot find the path of this program: {error}"))?;
    let output = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", folder.join("counts").display()))
        .args([format!("--toggle-collect={function}"), format!("--dump-after={function}")])
        .arg(program)
        .arg(argument)
        .env("GLIBC_TUNABLES", GLIBC_TUNABLES)
        .output()
        .map_err(|error| format!("cannot start valgrind: {error}"))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("under valgrind: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)))
    }
}

/// Callgrind numbers its dumps (`counts.1` and so on), except for the last one, which it writes at exit.
fn read(folder: &Path) -> Result<Vec<u64>, String> {
    let dump = |number: usize| folder.join(format!("counts.{number}"));
    (1..).map(dump).take_while(|path| path.exists()).map(|path| total(&path)).collect()
}

fn total(path: &Path) -> Result<u64, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: ")?.trim().parse().ok());
    total.ok_or_else(|| format!("{}: no total in it", path.display()))
}

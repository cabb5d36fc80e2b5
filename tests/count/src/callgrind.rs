//! Runs this program again under callgrind and reads its counts.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use medhook_count::LENGTHS;

/// Instructions per delivery of each function by itself, without the functions that it calls.
pub struct Profile(BTreeMap<String, f64>);

impl Profile {
    /// Counts a row in a process of its own. `folder` must exist and be empty.
    pub fn measure(row: &str, side: &str, folder: &Path) -> Result<Self, String> {
        run(row, side, folder)?;
        let [shorter, longer] = [1, 2].map(|part| read(&folder.join(format!("counts.{part}"))));
        Ok(Profile::difference(shorter?, longer?))
    }

    fn difference(shorter: BTreeMap<String, u64>, longer: BTreeMap<String, u64>) -> Self {
        let deliveries = (LENGTHS[1] - LENGTHS[0]) as f64;
        let mut functions: BTreeMap<_, _> = longer.into_iter().map(|(name, count)| (name, count as f64)).collect();
        for (name, count) in shorter {
            *functions.entry(name).or_default() -= count as f64;
        }
        functions.values_mut().for_each(|count| *count /= deliveries);
        Profile(functions)
    }

    /// Returns the instructions of `sha2`'s functions, nearly all of which are the compression function's.
    pub fn sha2(&self) -> f64 {
        self.sum(is_sha2)
    }

    /// Returns the instructions of all other functions.
    pub fn outside_sha2(&self) -> f64 {
        self.sum(|name| !is_sha2(name))
    }

    /// Returns the instructions of the functions whose name has this end.
    pub fn of(&self, end: &str) -> f64 {
        self.sum(|name| name.ends_with(end))
    }

    /// Returns all functions, the most expensive first.
    pub fn functions(&self) -> Vec<(&str, f64)> {
        let mut functions: Vec<_> = self.0.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        functions.sort_by(|one, other| other.1.total_cmp(&one.1));
        functions
    }

    fn sum(&self, which: impl Fn(&str) -> bool) -> f64 {
        self.0.iter().filter(|(name, _)| which(name)).map(|(_, count)| count).sum()
    }
}

fn is_sha2(function: &str) -> bool {
    function.starts_with("sha2::") || function.starts_with("<sha2::")
}

/// `hwcaps` is the same as in `tests/constant-time`. The two tunables for malloc make every freed block of up to
/// 1,032 bytes go to the thread's cache. By default some are merged with their neighbors, which adds up to 500
/// instructions to a delivery, depending on the layout of the heap.
const GLIBC_TUNABLES: &str = "glibc.cpu.hwcaps=-AVX2,-AVX2_Usable,-AVX512VL,-AVX512BW,-MOVBE,-SSE4_1:\
    glibc.malloc.tcache_count=65535:glibc.malloc.mxfast=0";

fn run(row: &str, side: &str, folder: &Path) -> Result<(), String> {
    let program = env::current_exe().map_err(|error| format!("cannot find the path of this program: {error}"))?;
    // The lengths of arguments and variables shift the stack, and its alignment makes a difference of some
    // instructions. Therefore the program has the same name everywhere, and a single variable.
    symlink(program, folder.join("count")).map_err(|error| format!("{}: {error}", folder.display()))?;
    let output = Command::new(valgrind()?)
        .args(["--tool=callgrind", "--callgrind-out-file=counts"])
        .args(["--toggle-collect=medhook_count::counted", "--dump-after=medhook_count::length_ended"])
        .args(["./count", "deliver", row, side])
        .env_clear()
        .env("GLIBC_TUNABLES", GLIBC_TUNABLES)
        .current_dir(folder)
        .output()
        .map_err(|error| format!("cannot start valgrind: {error}"))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("{row} under valgrind: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)))
    }
}

fn valgrind() -> Result<PathBuf, String> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).map(|folder| folder.join("valgrind")).find(|file| file.is_file());
    found.ok_or_else(|| "valgrind not found".to_owned())
}

fn read(path: &Path) -> Result<BTreeMap<String, u64>, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    parse(&text).ok_or_else(|| format!("{}: not callgrind's format", path.display()))
}

/// Reads callgrind's format: `fn=(number) name` before the lines of a function, the name only at its first mention
/// (which may be as `cfn=`, a callee), and in each line a position and a count. The line after `calls=` is the
/// callee's count.
fn parse(text: &str) -> Option<BTreeMap<String, u64>> {
    let (mut names, mut counts) = (BTreeMap::new(), BTreeMap::<_, u64>::new());
    let (mut function, mut total) = (None, None::<u64>);
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some((key @ ("fn" | "cfn"), value)) = line.split_once('=') {
            let (number, name) = value.split_once(')')?;
            if !name.is_empty() {
                names.insert(number, name.trim_start());
            }
            if key == "fn" {
                function = Some(number);
            }
        } else if line.starts_with("calls=") {
            lines.next()?;
        } else if let Some(value) = line.strip_prefix("totals: ") {
            total = Some(value.parse().ok()?);
        } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
            let (_, count) = line.split_once(' ')?;
            *counts.entry(function?).or_default() += count.parse::<u64>().ok()?;
        }
    }
    // If both agree, no line was misread.
    (total == Some(counts.values().sum::<u64>())).then_some(())?;
    let mut functions = BTreeMap::new();
    for (number, count) in counts {
        *functions.entry((*names.get(number)?).to_owned()).or_default() += count;
    }
    Some(functions)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNTS: &str = "\
        # callgrind format\n\
        version: 1\n\
        positions: line\n\
        events: Ir\n\n\
        fl=(1) lib.rs\n\
        fn=(1) medhook_count::counted\n\
        12 5\n\
        fi=(2) other.rs\n\
        +3 2\n\
        cfn=(2) sha2::sha256::compress256\n\
        calls=18 7\n\
        * 3600\n\n\
        fn=(2)\n\
        7 3500\n\
        cfn=(3) memcpy\n\
        calls=1 1\n\
        +1 100\n\n\
        fn=(3)\n\
        1 100\n\n\
        totals: 3607\n";

    #[test]
    fn a_function_has_its_own_instructions_and_not_those_of_its_callees() {
        let counts = parse(COUNTS).unwrap();
        let expected = [("medhook_count::counted", 7), ("memcpy", 100), ("sha2::sha256::compress256", 3500)];
        assert_eq!(counts, expected.map(|(name, count)| (name.to_owned(), count)).into());
        let profile = Profile::difference(BTreeMap::new(), counts);
        assert_eq!((profile.sha2(), profile.outside_sha2()), (3500.0 / 500.0, 7.0 / 500.0 + 100.0 / 500.0));
    }

    #[test]
    fn a_file_that_does_not_add_up_is_an_error() {
        assert_eq!(parse(&COUNTS.replace("totals: 3607", "totals: 3608")), None);
        assert_eq!(parse(""), None);
    }
}

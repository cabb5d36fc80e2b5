//! Marks in events that must not appear in logs, lists, metrics and sealed files.

use std::path::Path;

/// Part of every id, every body and every secret word in it; never of a log line or a metric.
pub const MARK: &str = "c4n4ry";

/// Returns a text that is different for each id and can be found in it from the first byte.
pub fn words(id: &str, length: usize) -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    let word = format!("{MARK}{:016x}", hasher.finish());
    let piece = format!("{word}{}", &word[..32 - word.len()]);
    piece.repeat(length / 32 + 1)[..length].to_owned()
}

/// Counts marks in the logs of a folder. Returns the bytes of the logs and the marks.
pub fn count_in_logs(folder: &Path, marks: &[&str]) -> (u64, usize) {
    let mut found = (0, 0);
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "log") {
            let text = String::from_utf8_lossy(&std::fs::read(path).expect("a log")).into_owned();
            found.0 += text.len() as u64;
            found.1 += marks.iter().map(|mark| text.matches(mark).count()).sum::<usize>();
        }
    }
    found
}

/// Prints the last lines of the logs of a folder that were written last.
pub fn print_logs(folder: &Path) {
    let mut logs: Vec<_> = std::fs::read_dir(folder).into_iter().flatten().flatten().collect();
    logs.retain(|entry| entry.path().extension().is_some_and(|extension| extension == "log"));
    logs.sort_by_key(|entry| entry.file_name());
    for entry in logs.iter().rev().take(3) {
        let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        let last = lines.get(lines.len().saturating_sub(15)..).unwrap_or_default();
        println!("{}:\n{}", entry.path().display(), last.join("\n"));
    }
}

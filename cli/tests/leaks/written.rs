//! The marks, and everything that the program has written.

use std::path::Path;

use medhook_tests::leaks::Search;

/// Part of every secret, id, header value, answer and password, and of texts and member names of bodies.
pub(crate) const MARK: &str = "c4n4ry";
/// A number in bodies.
pub(crate) const NUMBER: &str = "4711004711";
/// Part of an event kind that no documentation has. The log of `receive` has it, and JSON lines.
pub(crate) const KIND: &str = "und0cumented";

/// Everything that was written, each with the name of its place.
#[derive(Default)]
pub(crate) struct Written(Vec<(String, Vec<u8>)>);

impl Written {
    pub(crate) fn add(&mut self, place: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.0.push((place.into(), bytes.into()));
    }

    /// Adds the contents and the names of all files in a folder and its subfolders.
    pub(crate) fn add_files(&mut self, folder: &Path) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            self.add(format!("the name of {}", path.display()), path.file_name().unwrap().as_encoded_bytes());
            if path.is_dir() {
                self.add_files(&path);
            } else {
                self.add(path.display().to_string(), std::fs::read(&path).unwrap());
            }
        }
    }

    /// Leaves out these places, and those that are the same with a query.
    pub(crate) fn without(mut self, places: &[&str]) -> Self {
        self.0.retain(|(place, _)| !places.contains(&place.split('?').next().unwrap()));
        self
    }

    /// Asserts that no mark is in it, and that there is this much of it.
    pub(crate) fn is_silent(&self, marks: &[&str], least: usize) {
        let search = Search::of(marks);
        let found: Vec<_> = self
            .0
            .iter()
            .flat_map(|(place, bytes)| search.found_in(bytes).into_iter().map(move |found| format!("{place}: {found}")))
            .collect();
        assert!(found.is_empty(), "{found:#?}");
        let bytes: usize = self.0.iter().map(|(_, bytes)| bytes.len()).sum();
        assert!(bytes >= least, "only {bytes} bytes were searched");
    }
}

/// Asserts that a mark is in an output that has to have it, so that the search works there.
pub(crate) fn is_marked(output: &[u8]) {
    let found = Search::of(&[MARK]).found_in(output);
    assert!(!found.is_empty(), "{}", String::from_utf8_lossy(output));
}

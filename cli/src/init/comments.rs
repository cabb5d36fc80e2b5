//! Comments in the config file.

use std::fmt::Write;

/// Marks a line that needs a value from the operator.
pub(super) const FILL_IN: &str = "FILL IN";

/// Writes a sentence as comments of at most 100 columns.
pub(super) fn commented(text: &mut String, sentence: &str) {
    let mut line = "#".to_owned();
    for word in sentence.split(' ') {
        if line.len() + 1 + word.len() > 100 {
            let _ = writeln!(text, "{line}");
            line = "#".to_owned();
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(text, "{line}");
}

//! Writing to terminals and pipes.

use std::io::{ErrorKind, IsTerminal, Write, stdout};

use crate::failure::Failure;

/// The properties of standard output.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Screen {
    /// Characters per line on a terminal; `None` in a pipe.
    pub(crate) width: Option<u16>,
    /// Whether to write color codes.
    pub(crate) color: bool,
}

impl Screen {
    /// Detects whether standard output is a terminal, and follows <https://no-color.org>.
    pub(crate) fn detect() -> Self {
        if !stdout().is_terminal() {
            return Screen::default();
        }
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|set| !set.is_empty());
        Screen { width: terminal_size::terminal_size().map(|(width, _)| width.0), color: !no_color && !is_dumb }
    }

    pub(crate) fn green(self, text: &str) -> String {
        self.painted("32", text)
    }

    pub(crate) fn red(self, text: &str) -> String {
        self.painted("1;31", text)
    }

    fn painted(self, color: &str, text: &str) -> String {
        if self.color { format!("\x1b[{color}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Escapes untrusted text for a terminal or a page: control characters, and characters that are invisible or change the
/// direction of text, are written as their code points.
pub(crate) fn harmless(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() || is_invisible(c) {
                text.extend(c.escape_default());
            } else {
                text.push(c);
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

/// Returns whether a character is a format character or a line separator, so that two texts can look the same.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
    )
}

/// Writes a line to standard error, and waits up to 2 s for that.
pub(crate) fn print_error(text: &str) {
    let (done, written) = std::sync::mpsc::channel();
    let line = format!("medhook: {text}");
    // On a thread, because a pipe that is never read would keep the process from exiting.
    std::thread::spawn(move || {
        let _ = writeln!(std::io::stderr().lock(), "{line}");
        let _ = done.send(());
    });
    let _ = written.recv_timeout(std::time::Duration::from_secs(2));
}

/// Writes the whole text. A closed pipe (`medhook demo | head`) is not a failure.
pub(crate) fn print_text(out: &mut dyn Write, text: &str) -> Result<(), Failure> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::because("cannot write to standard output", error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    struct Broken(ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_pipe_is_not_a_failure_but_a_full_disk_is() {
        assert!(print_text(&mut Broken(ErrorKind::BrokenPipe), "text").is_ok());
        assert!(print_text(&mut Broken(ErrorKind::StorageFull), "text").is_err());
    }

    #[test]
    fn untrusted_text_cannot_control_a_terminal() {
        assert_eq!(harmless(b"a\x1b[2Jb\nc\xff"), "a\\u{1b}[2Jb\\nc\\xff");
        assert_eq!(harmless("ñ\u{202e}x\u{9b}".as_bytes()), "ñ\\u{202e}x\\u{9b}");
        assert_eq!(harmless("a\u{200b}b\u{feff}\u{e0041}".as_bytes()), "a\\u{200b}b\\u{feff}\\u{e0041}");
    }

    #[test]
    fn escape_codes_are_written_only_with_color() {
        assert_eq!(Screen::default().red("text"), "text");
        assert_eq!(Screen { width: None, color: true }.red("text"), "\x1b[1;31mtext\x1b[0m");
    }
}

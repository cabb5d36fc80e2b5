//! Writes a body to a file.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

use medhook::Inbox;
use medhook::inbox::{Entry, Operator};

use super::session::failed;
use crate::failure::Failure;
use crate::output::print_error;
use crate::verdict::Verdict;

/// Checks that the file can be new, so that no view is recorded that does not happen.
pub(super) fn check(file: &Path) -> Result<(), Failure> {
    if file == Path::new("-") {
        return Err(Failure::new(
            "--body: a body is written to a file only, never to standard output; name a new file",
        ));
    }
    match file.symlink_metadata() {
        Ok(_) => Err(Failure::new(format!("--body: {} exists; name a new file", file.display()))),
        Err(_) => Ok(()),
    }
}

/// Records the view, and writes the body to the file, which must not exist.
pub(super) async fn write(inbox: &Inbox, entry: &Entry, file: &Path, viewer: &Operator) -> Result<Verdict, Failure> {
    if !entry.has_body {
        print_error(&format!("the body of event {} was deleted; nothing was written", entry.id));
        return Ok(Verdict::Problem);
    }
    // Writes the audit entry.
    let Some(body) = inbox.body(entry.id, viewer).await.map_err(failed)? else {
        print_error(&format!("the body of event {} was deleted meanwhile; nothing was written", entry.id));
        return Ok(Verdict::Problem);
    };
    let shown = file.display();
    let mut created = create(file).map_err(|error| {
        Failure::because(format_args!("--body: {shown} cannot be created (the view is recorded nevertheless)"), error)
    })?;
    if let Err(error) = created.write_all(&body).and_then(|()| created.sync_all()) {
        drop(created);
        let _ = std::fs::remove_file(file);
        return Err(Failure::because(format_args!("--body: {shown} cannot be written, and was removed"), error));
    }
    print_error(&format!(
        "{shown} contains health data ({} bytes); delete it when you are done. This view was recorded",
        body.len()
    ));
    Ok(Verdict::Success)
}

/// Creates a file that only its owner can read. Never opens one that exists, nor follows a symbolic link.
fn create(file: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(file)
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    #[test]
    fn only_a_new_file_is_created_and_no_link_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let [new, link, target] = ["new", "link", "target"].map(|name| folder.path().join(name));
        symlink(&target, &link).unwrap();
        assert!(check(&new).is_ok());
        create(&new).unwrap();
        assert_eq!(new.metadata().unwrap().mode() & 0o777, 0o600);
        for existing in [&new, &link] {
            assert!(check(existing).unwrap_err().to_string().contains("exists"));
            assert!(create(existing).is_err());
        }
        assert!(!target.exists());
        assert!(check(Path::new("-")).unwrap_err().to_string().contains("never to standard output"));
    }
}

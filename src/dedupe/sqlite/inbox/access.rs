//! The check that no other user can read bodies that are stored in clear.

use std::path::Path;

use super::super::fault::Fault;

/// Checks that only its owner can access the file and those beside it, and that only the owner of its directory can add
/// files to it. The mode of an existing file is not changed, since another user may need it.
#[cfg(unix)]
pub(super) fn check(path: &Path) -> Result<(), Fault> {
    use std::os::unix::fs::MetadataExt;

    use super::super::file::{SHM, WAL, beside};

    let unreadable = |path: &Path, error| Fault::new(format!("{} cannot be checked: {error}", path.display()));
    let real = std::fs::canonicalize(path).map_err(|error| unreadable(path, error))?;
    let mode = |path: &Path| match std::fs::metadata(path) {
        Ok(file) => Ok(file.mode() & 0o7777),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && path != real => Ok(0),
        Err(error) => Err(unreadable(path, error)),
    };
    for path in [real.clone(), beside(&real, WAL), beside(&real, SHM)] {
        let mode = mode(&path)?;
        if mode & 0o077 != 0 {
            let path = path.display();
            return Err(Fault::new(format!(
                "bodies in clear need files that other users cannot access, but the mode of {path} is {mode:04o}; run \
                 `chmod 600 {path}`, or seal the bodies"
            )));
        }
    }
    let directory = real.parent().unwrap_or(&real);
    let mode = mode(directory)?;
    if mode & 0o022 != 0 {
        let directory = directory.display();
        return Err(Fault::new(format!(
            "bodies in clear need a directory that other users cannot write to, but the mode of {directory} is \
             {mode:04o}; run `chmod go-w {directory}`, move the file to another directory, or seal the bodies"
        )));
    }
    Ok(())
}

/// Other systems have no comparable modes.
#[cfg(not(unix))]
pub(super) fn check(_: &Path) -> Result<(), Fault> {
    Ok(())
}

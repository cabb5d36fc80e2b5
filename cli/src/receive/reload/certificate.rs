//! The certificate of the listener.

use std::path::PathBuf;
use std::time::SystemTime;

use super::change::{Reload, Reloaded};
use super::watched::FileContent;
use crate::receive::tls::CertificateSource;

impl Reload for CertificateSource {
    fn files(&self) -> Vec<PathBuf> {
        self.files().to_vec()
    }

    fn apply(&mut self, contents: &[FileContent]) -> Result<Reloaded, String> {
        let [cert, key] = contents else {
            return Ok(Reloaded::Unchanged);
        };
        let cert = bytes(cert).map_err(|problem| self.kept(&format!("`cert`: {problem}")))?;
        let key = bytes(key).map_err(|problem| self.kept(&format!("`key`: {problem}")))?;
        if !self.replace(cert, key)? {
            return Ok(Reloaded::Unchanged);
        }
        self.warnings(SystemTime::now()).iter().for_each(|warning| tracing::warn!("{warning}"));
        Ok(Reloaded::Replaced)
    }
}

fn bytes(content: &FileContent) -> Result<&[u8], String> {
    match content {
        FileContent::Bytes(bytes) => Ok(bytes),
        FileContent::Missing => Err("the file does not exist".to_owned()),
        FileContent::Unreadable(problem) => Err(format!("the file {problem}")),
    }
}

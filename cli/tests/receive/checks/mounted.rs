//! Secret files that are mounted as Kubernetes does it: links through `..data`, which is swapped at once.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use base64ct::{Base64, Encoding};

use super::events::{PROVIDERS, Provider};
use super::shared::marks::MARK;

/// A folder of secrets.
pub(super) struct Mounted {
    folder: PathBuf,
    version: u32,
}

impl Mounted {
    pub(super) fn at(folder: PathBuf) -> Self {
        std::fs::create_dir_all(&folder).unwrap();
        Mounted { folder, version: 0 }
    }

    /// Replaces all files in one step.
    pub(super) fn swap(&mut self, files: &BTreeMap<String, String>) {
        self.version += 1;
        let version = format!("..version_{}", self.version);
        let target = self.folder.join(&version);
        std::fs::create_dir(&target).unwrap();
        for (name, text) in files {
            let file = target.join(name);
            std::fs::write(&file, text).unwrap();
            private(&file);
            let link = self.folder.join(name);
            if std::fs::symlink_metadata(&link).is_err() {
                symlink(Path::new("..data").join(name), link).unwrap();
            }
        }
        let next = self.folder.join("..data_tmp");
        symlink(&version, &next).unwrap();
        std::fs::rename(next, self.folder.join("..data")).unwrap();
    }
}

fn private(file: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(file, PermissionsExt::from_mode(0o600)).unwrap();
}

/// Returns the secret of a provider, which carries a mark.
pub(super) fn secret(provider: &Provider, generation: u32) -> String {
    let text = format!("{MARK}-{}-{generation}-0123456789abcdef", provider.name);
    if provider.is_base64 { format!("whsec_{}", Base64::encode_string(text.as_bytes())) } else { text }
}

/// Returns the secrets of this generation, by endpoint.
pub(super) fn secrets(generation: u32) -> BTreeMap<&'static str, String> {
    PROVIDERS.iter().map(|provider| (provider.name, secret(provider, generation))).collect()
}

/// Returns a key of the inbox, or the secret of the application: base64 of 32 bytes with a mark.
pub(super) fn key(name: &str) -> String {
    let text: String = format!("{MARK}-{name}-0123456789abcdef0123456789").chars().take(32).collect();
    Base64::encode_string(text.as_bytes())
}

/// The files: the secrets of each endpoint, of the application, and the keys of the inbox.
pub(super) fn files(generations: &[u32]) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for (place, generation) in generations.iter().enumerate() {
        let name = |provider: &str| if place == 0 { provider.to_owned() } else { format!("{provider}-{place}") };
        files.extend(secrets(*generation).into_iter().map(|(provider, secret)| (name(provider), secret)));
    }
    for name in [APPLICATION, OLD_KEY, NEW_KEY] {
        files.insert(name.to_owned(), key(name));
    }
    files
}

pub(super) const APPLICATION: &str = "application";
pub(super) const OLD_KEY: &str = "old-key";
pub(super) const NEW_KEY: &str = "new-key";

/// Returns every text that must never be written: the mark, and what is written in base64.
pub(super) fn unspeakable() -> Vec<String> {
    let mut texts = vec![MARK.to_owned()];
    texts.extend([APPLICATION, OLD_KEY, NEW_KEY].map(key));
    let secrets = [1, 2].into_iter().flat_map(secrets);
    texts.extend(secrets.filter_map(|(_, secret)| Some(secret.strip_prefix("whsec_")?.to_owned())));
    texts
}

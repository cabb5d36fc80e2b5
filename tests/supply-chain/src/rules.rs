//! `deny.toml`, as far as it stands there: a rule of cargo-deny's that is not known here is an error, not passed over.

use std::fs;

use semver::{Version, VersionReq};
use serde::Deserialize;
use serde_json::Value;

use crate::{licence, project};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    #[allow(dead_code, reason = "all features are asked for either way")]
    graph: toml::Table,
    licenses: Licences,
    sources: Sources,
    bans: Bans,
    #[allow(dead_code, reason = "cargo-deny alone has the database")]
    advisories: toml::Table,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Licences {
    allow: Vec<String>,
    private: Private,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Private {
    ignore: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Sources {
    unknown_registry: Deny,
    unknown_git: Deny,
    allow_registry: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Deny {
    Deny,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Bans {
    #[allow(dead_code, reason = "the one rule that asks for nothing")]
    multiple_versions: Allow,
    wildcards: Deny,
    allow_wildcard_paths: bool,
    deny: Vec<Ban>,
    features: Vec<Features>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Allow {
    Allow,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ban {
    #[serde(rename = "crate")]
    of: String,
    reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Features {
    #[serde(rename = "crate")]
    of: String,
    deny: Vec<String>,
}

impl Rules {
    /// # Errors
    /// `deny.toml` is not there, or says what is not known here.
    pub fn read() -> Result<Rules, String> {
        let text = fs::read_to_string(project().join("deny.toml")).map_err(|error| format!("deny.toml: {error}"))?;
        toml::from_str(&text).map_err(|error| format!("deny.toml: {error}"))
    }

    /// What is wrong with a package, as `cargo metadata` tells of it.
    #[must_use]
    pub fn broken_by(&self, package: &Value) -> Vec<String> {
        let text = |key: &str| package[key].as_str().unwrap_or_default();
        let (name, version) = (text("name"), text("version"));
        let mut broken = Vec::new();

        let private = package["publish"].as_array().is_some_and(Vec::is_empty);
        let allowed = |licence: &str| self.licenses.allow.iter().any(|known| known == licence);
        if !(private && self.licenses.private.ignore || licence::is_allowed(text("license"), &allowed)) {
            broken.push(format!("{name} {version}: licence {:?}", text("license")));
        }
        if let Some(source) = package["source"].as_str() {
            let (Deny::Deny, Deny::Deny) = (&self.sources.unknown_registry, &self.sources.unknown_git);
            let registry = source.strip_prefix("registry+");
            if !registry.is_some_and(|registry| self.sources.allow_registry.iter().any(|known| known == registry)) {
                broken.push(format!("{name} {version}: from {source}"));
            }
        } else {
            broken.extend(self.wildcards_of(name, package));
        }
        for ban in self.bans.deny.iter().filter(|ban| ban.is_of(name, version)) {
            broken.push(format!("{name} {version}: {}", ban.reason));
        }
        for features in self.bans.features.iter().filter(|features| features.of == name) {
            let enabled = package["enabled"].as_array().into_iter().flatten().filter_map(Value::as_str);
            broken.extend(
                enabled
                    .filter(|feature| features.deny.iter().any(|denied| denied == feature))
                    .map(|feature| format!("{name} {version}: feature {feature}")),
            );
        }
        broken
    }

    /// Dependencies of ours in any version.
    fn wildcards_of(&self, name: &str, package: &Value) -> Vec<String> {
        let Deny::Deny = self.bans.wildcards;
        let dependencies = package["dependencies"].as_array().into_iter().flatten();
        dependencies
            .filter(|dependency| dependency["req"] == "*")
            .filter(|dependency| dependency["path"].is_null() || !self.bans.allow_wildcard_paths)
            .map(|dependency| format!("{name}: {} in any version", dependency["name"]))
            .collect()
    }
}

impl Ban {
    /// `name`, or `name:requirement`. A version that cannot be read is banned with the others.
    fn is_of(&self, name: &str, version: &str) -> bool {
        let (of, requirement) = self.of.split_once(':').unwrap_or((&self.of, "*"));
        let requirement = VersionReq::parse(requirement);
        of == name
            && match (requirement, Version::parse(version)) {
                (Ok(requirement), Ok(version)) => requirement.matches(&version),
                _ => true,
            }
    }
}

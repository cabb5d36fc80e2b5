//! The options that subcommands share.

use std::path::PathBuf;

use medhook::inbox::Operator;

use super::actor::actor;
use crate::commands::{DEFAULT_CONFIG, inbox_command};
use crate::failure::Failure;

/// The config file, and the form of the output.
#[derive(Debug, clap::Args)]
pub(super) struct InboxOptions {
    /// Config file of the receiver
    #[arg(long, global = true, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub(super) config: PathBuf,
    /// Write JSON, one object a line
    #[arg(long, global = true)]
    pub(super) json: bool,
}

impl InboxOptions {
    /// Returns a command that continues from the output, with the config file of this one.
    pub(super) fn command(&self, rest: &str) -> String {
        inbox_command(&self.config, rest)
    }
}

/// The operator and the reason, for the audit table.
#[derive(Debug, clap::Args)]
pub(super) struct AuditOptions {
    /// Name for the audit table; no spaces [default: the user of the operating system]
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// Reason for the audit table, such as a ticket; no health data
    #[arg(long, value_name = "TEXT")]
    because: Option<String>,
}

impl AuditOptions {
    /// Returns the operator of a change whose reason may be omitted.
    pub(super) fn operator(&self) -> Result<Operator, Failure> {
        self.with(self.because.as_deref().unwrap_or("no reason given"))
    }

    /// Returns the operator of a change that needs a reason. `what` names it in the message.
    pub(super) fn with_reason(&self, what: &str) -> Result<Operator, Failure> {
        let because = self.because.as_deref();
        self.with(because.ok_or_else(|| {
            Failure::new(format!(
                "{what} needs a reason for the audit table; add --because \"TEXT\" without health data"
            ))
        })?)
    }

    fn with(&self, because: &str) -> Result<Operator, Failure> {
        Operator::new(actor(self.actor.as_deref())?, because)
            .map_err(|error| Failure::because("--actor or --because", error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(config: &str) -> String {
        InboxOptions { config: config.into(), json: false }.command("stats")
    }

    #[test]
    fn a_shown_command_can_be_pasted_into_a_shell() {
        assert_eq!(command("medhook.toml"), "medhook inbox stats");
        assert_eq!(command("/etc/medhook/a-b.toml"), "medhook inbox stats --config /etc/medhook/a-b.toml");
        assert_eq!(command("my file's.toml"), r"medhook inbox stats --config 'my file'\''s.toml'");
    }

    #[test]
    fn a_change_of_health_data_needs_a_reason() {
        let options = |because: Option<&str>| AuditOptions {
            actor: Some("jdoe".to_owned()),
            because: because.map(ToOwned::to_owned),
        };
        let error = options(None).with_reason("discarding").unwrap_err().to_string();
        assert!(error.contains("discarding needs a reason") && error.contains("--because"), "{error}");
        assert_eq!(options(Some("ticket 1")).with_reason("").unwrap(), Operator::new("jdoe", "ticket 1").unwrap());
        assert_eq!(options(None).operator().unwrap(), Operator::new("jdoe", "no reason given").unwrap());
        assert!(options(Some("two\nlines")).operator().is_err());
    }
}

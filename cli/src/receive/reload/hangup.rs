//! The lines about a SIGHUP.

use super::change::PassResult;
use crate::receive::config::ConfigOrigin;
use crate::receive::printer::Printer;

/// Reports what a SIGHUP has done, and what needs a restart.
pub(in crate::receive) struct Hangup {
    log: Printer,
    origin: Option<ConfigOrigin>,
    /// The environment variables that hold secrets.
    variables: Vec<String>,
}

impl Hangup {
    pub(in crate::receive) fn new(log: Printer, origin: Option<ConfigOrigin>, mut variables: Vec<String>) -> Self {
        variables.sort();
        variables.dedup();
        Hangup { log, origin, variables }
    }

    pub(super) async fn report(&self, result: &PassResult) {
        let PassResult { replaced, failing } = *result;
        let mut lines = match (replaced, failing) {
            (0, 0) => "medhook: SIGHUP: no file of a secret or certificate has changed\n".to_owned(),
            _ => format!("medhook: SIGHUP: files read again; {replaced} replaced, {failing} not applied\n"),
        };
        if let Some(origin) = &self.origin {
            let changed = origin.clone();
            if tokio::task::spawn_blocking(move || changed.has_changed()).await.unwrap_or_default() {
                let file = origin.file();
                lines.push_str(&format!("medhook: SIGHUP: {file} has changed; restart the receiver to apply it\n"));
            }
        }
        if !self.variables.is_empty() {
            let variables = self.variables.join(", ");
            lines.push_str(&format!("medhook: SIGHUP: to change {variables}, restart the receiver\n"));
        }
        self.log.try_write(lines);
    }
}

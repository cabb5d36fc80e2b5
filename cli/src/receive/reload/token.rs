//! The token of the operator's page.

use std::path::PathBuf;
use std::sync::Arc;

use super::change::{Reload, Reloaded};
use super::endpoint::InUse;
use super::watched::FileContent;
use crate::failure::Failure;
use crate::receive::config::{check_token, token_is_unique};
use crate::receive::operations::Access;
use crate::receive::secrets::Named;

/// Replaces the token when its file changes, and ends all sessions.
pub(in crate::receive) struct TokenReload {
    access: Arc<Access>,
    token: Named,
    in_use: InUse,
}

impl TokenReload {
    pub(in crate::receive) fn new(access: Arc<Access>, token: Named, in_use: &InUse) -> Self {
        in_use.lock().token = Some(token.clone());
        TokenReload { access, token, in_use: in_use.clone() }
    }

    fn try_apply(&mut self, content: &FileContent) -> Result<Reloaded, Failure> {
        let Some(new) = self.token.entry.of_content(content)? else { return Ok(Reloaded::Unchanged) };
        if new.secret.is_same_as(&self.token.secret) {
            return Ok(Reloaded::Unchanged);
        }
        if new.is_cut_off(std::slice::from_ref(&self.token)) {
            return Err(new.cut_off());
        }
        check_token(&new).map_err(|problem| new.failure(&problem))?;
        let mut all = self.in_use.lock();
        token_is_unique(Some(&new), all.others())?;
        self.access.replace_token(&new.secret);
        tracing::info!(target: "medhook::secrets", "the token of the operator's page was replaced; all sessions ended");
        new.warning()
            .iter()
            .chain(&new.access_warning())
            .for_each(|warning| tracing::warn!(target: "medhook::secrets", "{warning}"));
        all.token = Some(new.clone());
        self.token = new;
        Ok(Reloaded::Replaced)
    }
}

impl Reload for TokenReload {
    fn files(&self) -> Vec<PathBuf> {
        // A pipe can be read only once, at the start.
        self.token.entry.regular_file().into_iter().collect()
    }

    fn apply(&mut self, contents: &[FileContent]) -> Result<Reloaded, String> {
        let Some(content) = contents.first() else { return Ok(Reloaded::Unchanged) };
        self.try_apply(content).map_err(|failure| format!("{failure}; the old token stays in use"))
    }
}

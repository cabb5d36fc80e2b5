//! Logs what was decided about access to the page. Any client can cause these lines, so they are limited, and show
//! nothing of a request but the network of its client.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use ipnet::IpNet;

use crate::peer::PeerAddress;
use crate::receive::budget::Budget;

/// A decision about access to the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::receive::operations) enum AccessEvent {
    /// The token opened a session.
    Opened,
    /// The operator logged out.
    Ended,
    WrongToken,
    /// The token was not looked at, because there were too many wrong ones.
    TooMany,
    /// The form did not come from the page itself.
    ForeignForm,
    /// The request named another host.
    UnknownHost,
}

/// The decisions that were counted instead of logged, and the network of the last client of each sort.
#[derive(Default)]
pub(super) struct AccessLog {
    counts: Budget<AccessEvent>,
    from: Mutex<HashMap<AccessEvent, IpNet>>,
}

impl AccessLog {
    /// Counts a decision, and logs it if it is the first of its sort for a while.
    pub(super) fn record(&self, event: AccessEvent, client: PeerAddress) {
        self.from.lock().unwrap_or_else(PoisonError::into_inner).insert(event, client.network());
        if self.counts.spend(&event) {
            self.log(event, 1);
        }
    }

    /// Logs the counts that are due.
    pub(super) fn log_due(&self) {
        self.counts.due().iter().for_each(|(event, count)| self.log(*event, *count));
    }

    /// Logs all counts, for the end of the process.
    pub(super) fn log_rest(&self) {
        self.counts.rest().iter().for_each(|(event, count)| self.log(*event, *count));
    }

    fn log(&self, event: AccessEvent, count: u64) {
        let from = self.from.lock().unwrap_or_else(PoisonError::into_inner).get(&event).map(ToString::to_string);
        match event {
            AccessEvent::Opened => tracing::info!(
                target: "medhook::page",
                count,
                from,
                "sessions of the operator's page were opened"
            ),
            AccessEvent::Ended => tracing::info!(
                target: "medhook::page",
                count,
                from,
                "sessions of the operator's page were ended by logging out"
            ),
            AccessEvent::WrongToken => tracing::warn!(
                target: "medhook::page",
                count,
                from,
                "logins to the operator's page were rejected because the token is wrong; unless it was mistyped, \
                 check who can reach `listen` of [operations]"
            ),
            AccessEvent::TooMany => tracing::warn!(
                target: "medhook::page",
                count,
                from,
                "logins to the operator's page were rejected because there were too many wrong tokens; check who can \
                 reach `listen` of [operations]"
            ),
            AccessEvent::ForeignForm => tracing::warn!(
                target: "medhook::page",
                count,
                from,
                "forms for the operator's page were rejected because another site sent them; a proxy in front must \
                 not change the `Host` of a request"
            ),
            AccessEvent::UnknownHost => tracing::warn!(
                target: "medhook::page",
                count,
                from,
                "requests for the operator's page were answered 421 because of the name in their address; if the \
                 name is yours, add it to `hosts` of [operations]"
            ),
        }
    }
}

//! When providers try again, as far as they document it.

use std::time::Duration;

use crate::endpoint::Provider;
use crate::failure::Failure;

/// The documented retries of one provider.
pub(super) struct Retries {
    /// How long after each failure the next attempt comes.
    pub(super) waits: &'static [Duration],
    /// Where the documentation ends and a guess begins.
    pub(super) remark: &'static str,
}

/// When a provider tries again.
pub(super) fn retries(provider: Provider) -> Result<Retries, Failure> {
    match provider {
        Provider::Healthsync => Ok(Retries {
            waits: HEALTHSYNC,
            remark: "healthsync documents retries after 1 min, 5 min, 30 min and 1 h: taken here as waits between attempts",
        }),
        Provider::Fasten => Ok(Retries {
            waits: FASTEN,
            remark: "fasten documents up to 4 retries with growing waits over about 24 h: how they grow is a guess",
        }),
        Provider::Azodha | Provider::Cair | Provider::Mediquo => {
            Err(Failure::new(format!("{} documents no retries: there is no schedule to follow", provider.name())))
        }
    }
}

const HEALTHSYNC: &[Duration] =
    &[Duration::from_secs(60), Duration::from_secs(300), Duration::from_secs(1_800), Duration::from_secs(3_600)];

/// Each four times the one before it, and 24 h in all.
const FASTEN: &[Duration] =
    &[Duration::from_secs(1_016), Duration::from_secs(4_066), Duration::from_secs(16_264), Duration::from_secs(65_054)];

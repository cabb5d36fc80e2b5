//! The housekeeping of a worker: it purges ended events, and measures the inbox.

use std::convert::Infallible;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep};

use super::expiry::Expiry;
use super::random::random_within;
use super::shared::Shared;
use crate::counts::EndpointCounts;
use crate::dedupe::inbox::store::{CountOf, Keep};
use crate::error::StoreError;
use crate::observe::inbox as observe;

const MEASURE: Duration = Duration::from_secs(15);
const PURGE: Duration = Duration::from_secs(60);
/// The time for which rows of ended events without a body are kept, for the list.
const KEEP_ROWS: Duration = Duration::from_secs(7 * 24 * 3600);

pub(super) async fn run(shared: &Shared) -> Infallible {
    let mut measure = interval(MEASURE);
    measure.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let purging = async {
        loop {
            sleep(random_within(PURGE * 3 / 4, PURGE)).await;
            if let Err(error) = purge(shared).await {
                observe::store_failed(&shared.limit, shared.receiver.endpoint(), "purge", &error);
            }
        }
    };
    let measuring = async {
        let mut expiry = Expiry::default();
        loop {
            measure.tick().await;
            // Nothing else uses the counts.
            if cfg!(feature = "metrics")
                && let Err(error) = measured(shared).await
            {
                observe::store_failed(&shared.limit, shared.receiver.endpoint(), "count", &error);
            }
            if cfg!(any(feature = "metrics", feature = "tracing"))
                && let Err(error) = expiry.measure(shared).await
            {
                observe::store_failed(&shared.limit, shared.receiver.endpoint(), "count", &error);
            }
        }
    };
    tokio::select! {
        never = purging => never,
        never = measuring => never,
    }
}

/// Deletes what the endpoint no longer has to keep. If there is more than fits into a minute, the next time continues.
async fn purge(shared: &Shared) -> Result<(), StoreError> {
    let keep = Keep { done: shared.retain_done, dead: shared.retain_dead, rows: KEEP_ROWS };
    shared
        .answer_within(PURGE, || Box::pin(shared.inbox.purge_unaudited(shared.receiver.name(), keep, |_| {})))
        .await
        .map(drop)
}

async fn measured(shared: &Shared) -> Result<(), StoreError> {
    let of = CountOf::Endpoint(shared.receiver.name().to_owned());
    let counts = shared.answer(|tables| tables.counts(of)).await?;
    let counts = counts.endpoints.into_iter().next().unwrap_or_else(EndpointCounts::default);
    observe::measured(shared.receiver.endpoint(), &counts, shared.breaker.is_open());
    Ok(())
}

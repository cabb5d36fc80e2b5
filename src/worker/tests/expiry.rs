//! Events that are useful for a limited time.

use super::*;

const KIND: &str = "patient.ehi_export_success";

/// A receiver whose kinds are those of Fasten, and an event of each of two kinds.
async fn stage() -> Stage {
    let (inbox, store) = memory::inbox(Bodies::plaintext()).await;
    let custom = Custom::new("fasten", SharedSecret::new("x-key"), Secret::new("0123456789abcdef").unwrap());
    let custom = custom.id_pointer("/id").kind_pointer("/type").known_kinds([KIND, "webhook.test"]);
    let receiver =
        Receiver::builder("in", custom).inbox(inbox).clock(StoreClock(store.clone())).lease(LEASE).build().unwrap();
    for (id, kind) in [(1, "webhook.test"), (2, KIND), (3, KIND)] {
        let body = Bytes::from(format!(r#"{{"id":"{id}","type":"{kind}"}}"#));
        let verified = receiver.verify(&[("x-key", "0123456789abcdef")], body).unwrap();
        let admitted = receiver.admit(receiver.open(verified).unwrap()).unwrap();
        admitted.run(async {}, |()| true).await.unwrap_err();
    }
    Stage { store, receiver }
}

/// The warnings about events that expire: the message, the kind and the id.
#[cfg(feature = "tracing")]
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

#[cfg(feature = "tracing")]
mod subscriber {
    use std::collections::BTreeMap;

    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};

    use super::Warnings;

    struct Fields(BTreeMap<&'static str, String>);

    impl Visit for Fields {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            self.0.insert(field.name(), format!("{value:?}"));
        }
    }

    impl tracing::Subscriber for Warnings {
        fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, event: &tracing::Event<'_>) {
            let mut fields = Fields(BTreeMap::new());
            event.record(&mut fields);
            if let (Some(useful), Some(next)) = (fields.0.get("useful_seconds"), fields.0.get("next")) {
                assert!(useful == "86400" && next.len() > 20, "{useful} {next}");
                let [message, kind, id] = ["message", "kind", "id"].map(|field| &*fields.0[field]);
                let is_half = message.contains("more than half of it has passed");
                assert!(is_half || message.contains("was not handled within"), "{message}");
                self.0.lock().unwrap().push(format!("{kind} {id} {}", if is_half { "half" } else { "past" }));
            }
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }
}

#[cfg(feature = "tracing")]
#[tokio::test(start_paused = true)]
async fn the_oldest_event_that_is_useful_for_a_limited_time_is_warned_of_once_for_each_half() {
    let stage = stage().await;
    let warnings = Warnings::default();
    let _subscribed = tracing::subscriber::set_default(warnings.clone());
    let seen = || std::mem::take(&mut *warnings.0.lock().unwrap());
    stage.inbox().pause("in", &Operator::new("ann", "a test").unwrap()).await.unwrap();
    let running = stage.run(stage.worker().retry(Retry::default().max_age(1000 * HOUR)), vec![Handled::done()]);
    sleep(12 * HOUR - 60 * SECOND).await;
    assert!(seen().is_empty());
    sleep(120 * SECOND).await;
    assert_eq!(seen(), [format!("{KIND:?} 2 half")]);
    sleep(11 * HOUR).await;
    assert!(seen().is_empty(), "once");
    sleep(HOUR + 120 * SECOND).await;
    assert_eq!(seen(), [format!("{KIND:?} 2 past")]);
    // The next one, once the oldest is discarded. Neither of the other kind, nor once none is left.
    stage.inbox().discard(2, &Operator::new("ann", "too late").unwrap()).await.unwrap();
    sleep(120 * SECOND).await;
    assert_eq!(seen(), [format!("{KIND:?} 3 past")]);
    stage.inbox().resume("in", &Operator::new("ann", "a test").unwrap()).await.unwrap();
    sleep(HOUR).await;
    assert!(seen().is_empty());
    assert_eq!(running.calls.count(), 2);
    running.task.abort();
}

#[tokio::test(start_paused = true)]
async fn kinds_without_a_limited_time_are_not_asked_for() {
    let stage = Stage::new().await;
    let running = stage.run(stage.worker(), vec![Handled::done()]);
    sleep(60 * SECOND).await;
    assert_eq!(stage.store.calls("oldest_of"), 0);
    running.task.abort();
    let stage = self::stage().await;
    let running = stage.run(stage.worker(), vec![Handled::done()]);
    sleep(60 * SECOND).await;
    let expected = if cfg!(any(feature = "metrics", feature = "tracing")) { 4..=5 } else { 0..=0 };
    assert!(expected.contains(&stage.store.calls("oldest_of")), "{}", stage.store.calls("oldest_of"));
    running.task.abort();
}

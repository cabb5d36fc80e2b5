//! The promises that must hold at the end of a run.

use crate::world::World;

/// Checks that every event was accepted in the end, was handled, and is remembered.
pub fn nothing_was_lost(world: &World) {
    for (number, event) in world.events() {
        assert!(event.accepted, "event {number} was never accepted");
        assert!(!event.handled_by.is_empty(), "event {number} was never handled");
        assert!(event.running.is_empty(), "event {number} is still being handled");
    }
}

/// Checks that every event was handled exactly once. Holds if no lease expires and the store does not fail.
pub fn each_was_handled_once(world: &World) {
    for (number, event) in world.events() {
        assert_eq!(event.handled_by.len(), 1, "event {number}");
        let key = event.key.expect("its key was seen");
        let ledger = world.store().ledger();
        assert!(ledger.lapsed(key).is_empty(), "a claim of event {number} expired");
        assert!(ledger.is_handled(key), "event {number} is not remembered");
    }
}

/// Checks that at most one successful handler of an event held its claim to the end. The claims of all others
/// expired, each because the store failed or the process died. Returns how many events were handled again.
pub fn again_only_after_a_claim_expired(world: &World) -> usize {
    let mut again = 0;
    for (number, event) in world.events() {
        let key = event.key.expect("its key was seen");
        let lapsed = world.store().ledger().lapsed(key);
        let held = event.handled_by.iter().filter(|token| !lapsed.contains(*token)).count();
        assert!(held <= 1, "event {number} was handled {held} times under claims that held");
        for token in &lapsed {
            assert!(world.store().has_failed(*token), "a claim of event {number} expired and nothing had failed");
        }
        again += usize::from(event.handled_by.len() > 1);
    }
    again
}

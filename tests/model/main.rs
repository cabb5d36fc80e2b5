//! Plays every order of steps of two or three claimers against the memory store: claims, renewals, commits and
//! releases of any claimer at any moment, with time passing in between.
//!
//! A step is a call that reaches the store. Lost answers, repeated steps and late steps are among the orders. A claim
//! or a renewal after the release of the same claimer is a packet that arrives late, or belongs to a call that was
//! dropped. The memory store never gets one, so it is behind the record of ended claims that the stores on servers
//! have ([`RemoteStore`]). Time is paused; it advances by half a lease, a lease, or a retention. Each answer is checked
//! against the rules of [`Ledger`].

mod records;

use std::time::Duration;

use medhook::{ClaimToken, DedupeStore, EventKey, Retention};
use medhook_tests::ledger::Ledger;
use medhook_tests::remote::RemoteStore;

const LEASE: Duration = Duration::from_secs(30);
const TOTAL: Duration = Duration::from_secs(3600);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Claim(u8),
    Renew(u8),
    Commit(u8),
    Release(u8),
    Pass(Duration),
}

#[tokio::test(start_paused = true)]
async fn two_claimers_in_every_order_of_six_steps() {
    assert_eq!(play_all(2, 6).await, 382_976);
}

#[tokio::test(start_paused = true)]
async fn three_claimers_in_every_order_of_five_steps() {
    assert_eq!(play_all(3, 5).await, 77_120);
}

/// Plays every sequence of this length, and thereby every shorter one, and returns how many there were.
async fn play_all(claimers: u8, length: usize) -> usize {
    let steps: Vec<Step> = (0..claimers)
        .flat_map(|who| [Step::Claim(who), Step::Renew(who), Step::Commit(who), Step::Release(who)])
        .chain([LEASE / 2, LEASE, TOTAL].map(Step::Pass))
        .collect();
    let mut played = 0;
    let mut sequence = vec![0; length];
    loop {
        let chosen: Vec<Step> = sequence.iter().map(|index| steps[*index]).collect();
        if is_its_own_representative(&chosen) {
            play(&chosen).await;
            played += 1;
        }
        // Counts up to the next sequence; after the last one, all have been played.
        let Some(place) = sequence.iter().rposition(|index| index + 1 < steps.len()) else { return played };
        sequence[place] += 1;
        sequence[place + 1..].fill(0);
    }
}

/// Returns whether the sequence represents all equivalent ones: claimers appear in the order of their numbers, and
/// time passes between steps, not before the first, after the last, or twice in a row.
fn is_its_own_representative(sequence: &[Step]) -> bool {
    let mut known = 0;
    for (at, step) in sequence.iter().enumerate() {
        match step {
            Step::Claim(who) | Step::Renew(who) | Step::Commit(who) | Step::Release(who) => {
                if *who > known {
                    return false;
                }
                known = known.max(*who + 1);
            }
            Step::Pass(_) => {
                let twice = at.checked_sub(1).is_some_and(|before| matches!(sequence[before], Step::Pass(_)));
                if at == 0 || at + 1 == sequence.len() || twice {
                    return false;
                }
            }
        }
    }
    true
}

async fn play(sequence: &[Step]) {
    let store = RemoteStore::new(4);
    let mut ledger = Ledger::default();
    let key = EventKey::from_bytes([7; 32]);
    let token = |who: u8| ClaimToken::from_bytes([who; 16]);
    let retention = Retention::new(LEASE, TOTAL);
    // Prints the sequence if a rule is broken.
    let _printed = PrintedOnPanic(sequence);
    for step in sequence {
        match *step {
            Step::Claim(who) => {
                let answer = store.claim(key, token(who), LEASE).await.expect("there is room");
                ledger.claim(key, token(who), LEASE, answer);
            }
            Step::Renew(who) => {
                let answer = store.renew(key, token(who), LEASE).await.expect("there is room");
                ledger.renew(key, token(who), LEASE, answer);
            }
            Step::Commit(who) => {
                let answer = store.commit(key, token(who), retention).await.expect("there is room");
                ledger.commit(key, token(who), retention, answer);
            }
            Step::Release(who) => {
                let answer = store.release(key, token(who)).await.expect("there is room");
                ledger.release(key, token(who), answer);
            }
            Step::Pass(time) => tokio::time::advance(time).await,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_a_rule_is_detected() {
    use medhook::Claimed::{Acquired, AlreadyHandled, InFlight};
    use medhook::Settled::{Lost, Settled};

    let (key, retention) = (EventKey::from_bytes([7; 32]), Retention::new(LEASE, TOTAL));
    let [one, two] = [1, 2].map(|who| ClaimToken::from_bytes([who; 16]));
    let breaks = |rule: &str, enter: &dyn Fn(&mut Ledger)| {
        let mut ledger = Ledger::default();
        ledger.claim(key, one, LEASE, Acquired);
        let entered = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| enter(&mut ledger)));
        let panic = entered.expect_err(rule);
        let said = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        assert!(said.is_some_and(|said| said.contains(rule)), "{said:?} instead of {rule:?}");
    };
    breaks("while another's lease holds", &|ledger| ledger.claim(key, two, LEASE, Acquired));
    breaks("only what was handled", &|ledger| ledger.claim(key, two, LEASE, AlreadyHandled));
    breaks("the rest of the lease", &|ledger| ledger.claim(key, two, LEASE, InFlight { retry_after: LEASE * 2 }));
    breaks("a holder does not wait for its own claim", &|ledger| {
        ledger.claim(key, one, LEASE, InFlight { retry_after: LEASE })
    });
    breaks("never acquired by a late packet", &|ledger| {
        ledger.release(key, one, Settled);
        ledger.claim(key, one, LEASE, Acquired);
    });
    breaks("never renewed by a late packet", &|ledger| {
        ledger.release(key, one, Settled);
        ledger.claim(key, two, LEASE, Acquired);
        ledger.release(key, two, Settled);
        ledger.renew(key, one, LEASE, Settled);
    });
    breaks("only ever lost to another", &|ledger| ledger.renew(key, one, LEASE, Lost));
    breaks("ends its successor's claim", &|ledger| ledger.renew(key, two, LEASE, Settled));
    breaks("ends its successor's claim", &|ledger| ledger.commit(key, two, retention, Settled));
    breaks("ends its successor's claim", &|ledger| ledger.release(key, two, Settled));
    breaks("never won again", &|ledger| {
        ledger.commit(key, one, retention, Settled);
        ledger.claim(key, two, LEASE, Acquired);
    });
    breaks("what another holds is in flight", &|ledger| {
        ledger.release(key, one, Settled);
        ledger.claim(key, two, LEASE, InFlight { retry_after: LEASE });
    });
}

struct PrintedOnPanic<'s>(&'s [Step]);

impl Drop for PrintedOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the steps: {:?}", self.0);
        }
    }
}

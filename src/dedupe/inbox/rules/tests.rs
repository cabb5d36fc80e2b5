use super::*;

const NOW: i64 = 1_790_000_000_000;
const LEASE: Duration = Duration::from_secs(30);

fn token(number: u8) -> ClaimToken {
    ClaimToken::from_bytes([number; 16])
}

fn waiting() -> RowState {
    RowState::waiting(NOW)
}

/// Returns a row that the first token has leased and whose lease ends now.
fn processing() -> RowState {
    RowState { status: Status::Processing, token: Some(token(1)), attempts: 1, ..waiting() }
}

fn ended(status: Status) -> RowState {
    RowState { status, ended_at: Some(NOW - 5), reason: Some("before".to_owned()), ..processing() }
}

fn retry(counted: bool) -> Ending {
    Ending::Retry { wait: Duration::from_secs(7), reason: "status_5xx", counted }
}

fn dead() -> Ending {
    Ending::Dead { reason: "given_up".to_owned() }
}

/// Applies a rule to a row, which must not change.
fn unchanged<T>(row: RowState, rule: impl FnOnce(&mut RowState) -> T) -> T {
    let mut after = row.clone();
    let result = rule(&mut after);
    assert_eq!(after, row);
    result
}

#[test]
fn a_waiting_row_is_leased_when_it_is_due() {
    for alone in [false, true] {
        let early = unchanged(waiting(), |row| lease(row, token(1), NOW - 1, LEASE, alone));
        assert_eq!(early, LeaseRule::NotDue);
        let mut row = RowState { reason: Some("status_5xx".to_owned()), ..waiting() };
        assert_eq!(lease(&mut row, token(1), NOW, LEASE, alone), LeaseRule::Leased);
        let due = NOW + 30_000;
        assert_eq!(row, RowState { due, alone, reason: Some("status_5xx".to_owned()), ..processing() });
    }
}

#[test]
fn a_repeated_lease_changes_nothing() {
    for now in [NOW - 1, NOW, NOW + 1_000_000] {
        for alone in [false, true] {
            let repeated = unchanged(processing(), |row| lease(row, token(1), now, LEASE, alone));
            assert_eq!(repeated, LeaseRule::Leased);
        }
    }
}

#[test]
fn a_held_row_is_not_leased() {
    for alone in [false, true] {
        let held = unchanged(processing(), |row| lease(row, token(2), NOW - 1, LEASE, alone));
        assert_eq!(held, LeaseRule::NotDue);
    }
}

#[test]
fn an_ending_of_a_lease_before_a_replay_does_not_end_a_later_lease() {
    let replayed = || RowState { replays: 1, ..processing() };
    for ending in [Ending::Done, Ending::Dead { reason: "given_up".to_owned() }] {
        for replays in [0, 2] {
            let lost = unchanged(replayed(), |row| finish_leased(row, token(1), replays, NOW, &ending));
            assert_eq!(lost, Settled::Lost);
        }
        let (mut by_lease, mut by_token) = (replayed(), replayed());
        assert_eq!(finish_leased(&mut by_lease, token(1), 1, NOW, &ending), Settled::Settled);
        assert_eq!(finish(&mut by_token, token(1), NOW, &ending), Settled::Settled);
        assert_eq!(by_lease, by_token);
    }
}

#[test]
fn a_suspect_is_leased_only_alone() {
    for was_alone in [false, true] {
        let row = RowState { alone: was_alone, ..processing() };
        assert_eq!(unchanged(row, |row| lease(row, token(2), NOW, LEASE, false)), LeaseRule::Suspect);
    }
    let mut row = processing();
    assert_eq!(lease(&mut row, token(2), NOW, LEASE, true), LeaseRule::Leased);
    assert_eq!(row, RowState { token: Some(token(2)), due: NOW + 30_000, alone: true, ..processing() });
}

#[test]
fn a_lease_alone_that_expired_counts_as_crash_and_attempt() {
    let mut row = RowState { alone: true, ..processing() };
    assert_eq!(lease(&mut row, token(2), NOW, LEASE, true), LeaseRule::Leased);
    assert_eq!((row.crashes, row.attempts, row.alone, row.token), (1, 2, true, Some(token(2))));
}

#[test]
fn the_fifth_crash_makes_a_row_dead() {
    let crashed = |crashes| RowState { crashes, alone: true, ..processing() };
    let mut row = crashed(3);
    assert_eq!(lease(&mut row, token(2), NOW, LEASE, true), LeaseRule::Leased);
    assert_eq!((row.crashes, row.status), (4, Status::Processing));
    for crashes in [4, 5, u32::MAX] {
        let mut row = crashed(crashes);
        assert_eq!(lease(&mut row, token(2), NOW, LEASE, true), LeaseRule::Crashed);
        assert_eq!((row.status, row.reason.as_deref(), row.ended_at), (Status::Dead, Some(CRASHED), Some(NOW)));
        assert_eq!((row.token, row.attempts), (Some(token(1)), 1));
    }
}

#[test]
fn an_ended_row_is_not_leased() {
    for status in [Status::Done, Status::Dead, Status::Discarded] {
        for (by, alone) in [(1, false), (1, true), (2, false), (2, true)] {
            let leased = unchanged(ended(status), |row| lease(row, token(by), NOW + 1, LEASE, alone));
            assert_eq!(leased, LeaseRule::NotDue);
        }
    }
}

#[test]
fn the_holder_renews_its_lease() {
    for now in [NOW - 1, NOW + 1_000_000] {
        let mut row = processing();
        assert_eq!(renew(&mut row, token(1), now, LEASE), Settled::Settled);
        assert_eq!(row, RowState { due: now + 30_000, ..processing() });
    }
    assert_eq!(unchanged(processing(), |row| renew(row, token(2), NOW, LEASE)), Settled::Lost);
    let unheld = RowState { token: None, ..processing() };
    assert_eq!(unchanged(unheld, |row| renew(row, token(1), NOW, LEASE)), Settled::Lost);
    let released = RowState { status: Status::Waiting, ..processing() };
    assert_eq!(unchanged(released, |row| renew(row, token(1), NOW, LEASE)), Settled::Lost);
    for status in [Status::Done, Status::Dead, Status::Discarded] {
        assert_eq!(unchanged(ended(status), |row| renew(row, token(1), NOW, LEASE)), Settled::Lost);
    }
}

#[test]
fn an_ending_ends_the_lease_and_the_count_of_crashes() {
    let held = || RowState { crashes: 3, alone: true, reason: Some("before".to_owned()), attempts: 4, ..processing() };
    let finished = |ending| {
        let mut row = held();
        assert_eq!(finish(&mut row, token(1), NOW, &ending), Settled::Settled);
        row
    };
    let expected = || RowState { crashes: 0, alone: false, ..held() };
    let end = |status, reason| RowState { status, reason, ended_at: Some(NOW), ..expected() };
    assert_eq!(finished(Ending::Done), end(Status::Done, None));
    assert_eq!(finished(dead()), end(Status::Dead, Some("given_up".to_owned())));
    for (counted, attempts) in [(true, 4), (false, 3)] {
        let reason = Some("status_5xx".to_owned());
        let again = RowState { status: Status::Waiting, due: NOW + 7_000, reason, attempts, ..expected() };
        assert_eq!(finished(retry(counted)), again);
    }
}

#[test]
fn nothing_ends_without_the_token() {
    let unheld = RowState { token: None, ..processing() };
    let rows = Status::ALL.map(|status| RowState { status, ..processing() });
    for ending in [Ending::Done, retry(true), retry(false), dead()] {
        for row in rows.clone() {
            assert_eq!(unchanged(row, |row| finish(row, token(2), NOW, &ending)), Settled::Lost);
        }
        assert_eq!(unchanged(unheld.clone(), |row| finish(row, token(1), NOW, &ending)), Settled::Lost);
    }
}

#[test]
fn a_second_ending_changes_nothing() {
    let again = |status, ending: Ending| {
        let row = RowState { status, crashes: 2, alone: true, ..ended(status) };
        unchanged(row, |row| finish(row, token(1), NOW, &ending)) == Settled::Settled
    };
    // Columns: done, retry, dead.
    for (status, accepted) in [
        (Status::Waiting, [false, true, false]),
        (Status::Done, [true, true, true]),
        (Status::Dead, [false, false, true]),
        (Status::Discarded, [false, false, false]),
    ] {
        assert_eq!([Ending::Done, retry(true), dead()].map(|ending| again(status, ending)), accepted, "{status:?}");
        assert_eq!(again(status, retry(false)), accepted[1], "{status:?}");
    }
}

#[test]
fn a_replay_gives_an_ended_row_new_attempts() {
    for status in [Status::Done, Status::Dead] {
        let mut row = RowState { attempts: 9, crashes: 5, alone: true, due: NOW - 50, ..ended(status) };
        assert!(replay(&mut row, NOW));
        assert_eq!(row, RowState { replays: 1, reason: Some("before".to_owned()), ..waiting() });
    }
}

#[test]
fn a_replay_makes_a_waiting_row_due() {
    let row = || RowState { attempts: 3, token: Some(token(1)), ..waiting() };
    let mut later = RowState { due: NOW + 1_000_000, ..row() };
    assert!(replay(&mut later, NOW));
    assert_eq!(later, row());
}

#[test]
fn leased_and_discarded_rows_are_not_replayed() {
    assert!(!unchanged(processing(), |row| replay(row, NOW)));
    assert!(!unchanged(ended(Status::Discarded), |row| replay(row, NOW)));
}

#[test]
fn rows_that_wait_or_are_dead_and_those_with_an_expired_lease_are_discarded() {
    for row in [RowState { reason: Some("before".to_owned()), ..waiting() }, processing(), ended(Status::Dead)] {
        let mut discarded = row.clone();
        assert!(discard(&mut discarded, NOW));
        assert_eq!(discarded, RowState { status: Status::Discarded, ended_at: Some(NOW), ..row });
    }
    let leased = RowState { due: NOW + 1, ..processing() };
    for row in [leased, ended(Status::Done), ended(Status::Discarded)] {
        assert!(!unchanged(row, |row| discard(row, NOW)));
    }
}

#[test]
fn counts_and_times_do_not_overflow() {
    let full = || RowState { attempts: u32::MAX, replays: u32::MAX, ..waiting() };
    let mut row = full();
    lease(&mut row, token(1), i64::MAX, Duration::MAX, false);
    assert_eq!((row.attempts, row.due), (u32::MAX, i64::MAX));
    renew(&mut row, token(1), NOW, Duration::MAX);
    assert_eq!(row.due, i64::MAX);
    finish(&mut row, token(1), NOW, &Ending::Retry { wait: Duration::MAX, reason: "", counted: true });
    assert_eq!(row.due, i64::MAX);
    let mut row = RowState { attempts: 0, ..processing() };
    finish(&mut row, token(1), NOW, &retry(false));
    assert_eq!(row.attempts, 0);
    let mut row = RowState { status: Status::Dead, ..full() };
    replay(&mut row, NOW);
    assert_eq!(row.replays, u32::MAX);
    assert_eq!(after(-5, Duration::from_millis(5)), 0);
    assert_eq!(after(i64::MAX, Duration::from_millis(1)), i64::MAX);
    assert_eq!(after(i64::MIN, Duration::MAX), -1);
}

#[test]
fn a_status_has_its_number_and_its_name() {
    let of = |number| Status::from_number(number).map(Status::as_str);
    let names = ["waiting", "processing", "done", "dead", "discarded"];
    assert_eq!([0, 1, 2, 3, 4].map(of), names.map(Some));
    assert_eq!([-1, 5, 65_536, i64::MIN, i64::MAX].map(of), [None; 5]);
    assert_eq!(Status::ALL.map(|status| Status::from_number(status.number().into())), Status::ALL.map(Some));
}

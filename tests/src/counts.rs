//! Counts of tests that would take minutes on a small machine: `scripts/nightly` sets `MEDHOOK_TEST_FULL`.

/// Returns the full count in `scripts/nightly`, and otherwise one with which the test takes less than 30 seconds.
pub fn full_or<N>(full: N, quick: N) -> N {
    if std::env::var_os("MEDHOOK_TEST_FULL").is_some() { full } else { quick }
}

//! Rounds in which subjects take turns.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// One of the subjects to compare.
pub struct Subject<'a> {
    pub name: &'static str,
    run: Box<dyn FnMut(u32) + 'a>,
}

impl<'a> Subject<'a> {
    pub fn new<T>(name: &'static str, mut call: impl FnMut() -> T + 'a) -> Self {
        let run = move |times| {
            for _ in 0..times {
                black_box(call());
            }
        };
        Subject { name, run: Box::new(run) }
    }
}

/// Returns the median time of one call of each subject, in nanoseconds, over many short rounds.
pub fn medians(subjects: &mut [Subject<'_>]) -> Vec<f64> {
    let times: Vec<_> = subjects.iter_mut().map(calls_in_a_round).collect();
    let mut taken = vec![Vec::with_capacity(ROUNDS); subjects.len()];
    for round in 0..ROUNDS {
        for turn in 0..subjects.len() {
            let index = whose(turn, round, subjects.len());
            let began = Instant::now();
            (subjects[index].run)(times[index]);
            taken[index].push(began.elapsed().as_secs_f64() * 1e9 / f64::from(times[index]));
        }
    }
    taken.into_iter().map(median).collect()
}

/// Each round begins with another subject, and every second round is in reverse order, so that no subject always
/// follows the same one.
fn whose(turn: usize, round: usize, subjects: usize) -> usize {
    let at = (round / 2 + turn) % subjects;
    if round.is_multiple_of(2) { at } else { subjects - 1 - at }
}

pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

const ROUNDS: usize = 151;
/// Short enough to be interrupted rarely, long enough for the resolution of the clock.
const OF_A_ROUND: Duration = Duration::from_micros(500);

fn calls_in_a_round(subject: &mut Subject<'_>) -> u32 {
    (subject.run)(16);
    let mut times = 1_u32;
    loop {
        let began = Instant::now();
        (subject.run)(times);
        if began.elapsed() >= OF_A_ROUND || times >= 1 << 20 {
            return times;
        }
        times *= 2;
    }
}

/// Does the same where a turn is more than calls of one function: `turn` returns its figures, and the result has the
/// median of each.
pub fn alternating<const FIGURES: usize>(
    subjects: usize,
    rounds: usize,
    mut turn: impl FnMut(usize) -> [f64; FIGURES],
) -> Vec<[f64; FIGURES]> {
    let mut taken = vec![[(); FIGURES].map(|()| Vec::with_capacity(rounds)); subjects];
    for round in 0..rounds {
        for step in 0..subjects {
            let index = whose(step, round, subjects);
            for (kept, figure) in taken[index].iter_mut().zip(turn(index)) {
                kept.push(figure);
            }
        }
    }
    taken.into_iter().map(|figures| figures.map(median)).collect()
}

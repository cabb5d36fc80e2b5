//! The ledger: lines about the handlers, which all processes append to one file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use medhook::Delivery;

/// The step of a handler that a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Start,
    /// The handler has succeeded.
    End,
    /// The handler has failed.
    Failure,
}

#[derive(Debug, Clone)]
pub struct Line {
    pub step: Step,
    pub event: String,
    pub token: String,
    pub attempt: u32,
    pub is_replay: bool,
    pub process: u32,
    /// Unix milliseconds.
    pub at: f64,
}

/// Appends a line.
pub fn write(path: &Path, step: Step, event: &str, delivery: &Delivery) {
    let token = delivery.claim_token().map_or_else(|| "-".to_owned(), |token| hex(token.as_bytes()));
    let (attempt, replay) = (delivery.attempt(), u8::from(delivery.is_replay()));
    let step = step.name();
    let line = format!("{step} {event} {token} {attempt} {replay} {} {}\n", std::process::id(), now());
    // One write, so that a line is whole or missing.
    let mut file = File::options().create(true).append(true).open(path).expect("a ledger");
    file.write_all(line.as_bytes()).expect("room for a line");
}

/// Returns Unix milliseconds.
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64() * 1e3
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Step::Start => "start",
            Step::End => "end",
            Step::Failure => "failure",
        }
    }
}

/// The lines that were read.
pub struct Ledger {
    path: PathBuf,
    read: u64,
    pub lines: Vec<Line>,
}

impl Ledger {
    pub fn new(path: PathBuf) -> Self {
        Ledger { path, read: 0, lines: Vec::new() }
    }

    /// Reads lines that were added.
    pub fn read(&mut self) -> &[Line] {
        let Ok(mut file) = File::open(&self.path) else { return &self.lines };
        let mut text = String::new();
        file.seek(SeekFrom::Start(self.read)).expect("a file");
        file.read_to_string(&mut text).expect("text");
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        self.read += whole as u64;
        self.lines.extend(text[..whole].lines().map(parse));
        &self.lines
    }

    /// Returns the events with such a line.
    pub fn events(&self, step: Step) -> BTreeSet<&str> {
        self.of(step).map(|line| line.event.as_str()).collect()
    }

    pub fn of(&self, step: Step) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(move |line| line.step == step)
    }

    /// Returns the starts of each event.
    pub fn starts(&self) -> BTreeMap<&str, Vec<&Line>> {
        let mut starts: BTreeMap<&str, Vec<&Line>> = BTreeMap::new();
        self.of(Step::Start).for_each(|line| starts.entry(&line.event).or_default().push(line));
        starts
    }

    /// Returns the events that a process has started and not ended, by the lines from this one.
    pub fn in_hand(&self, process: u32, from: usize) -> BTreeSet<String> {
        let mut in_hand = BTreeSet::new();
        for line in self.lines[from..].iter().filter(|line| line.process == process) {
            match line.step {
                Step::Start => in_hand.insert(line.event.clone()),
                Step::End | Step::Failure => in_hand.remove(&line.event),
            };
        }
        in_hand
    }
}

fn parse(line: &str) -> Line {
    let mut words = line.split(' ');
    let mut word = || words.next().expect("a whole line").to_owned();
    let step = match word().as_str() {
        "start" => Step::Start,
        "end" => Step::End,
        _ => Step::Failure,
    };
    let (event, token) = (word(), word());
    let (attempt, replay, process, at) = (word(), word(), word(), word());
    Line {
        step,
        event,
        token,
        attempt: attempt.parse().expect("a number"),
        is_replay: replay == "1",
        process: process.parse().expect("a number"),
        at: at.parse().expect("a number"),
    }
}

//! Deliveries whose signature has no known cause: the report must not name one.

use super::{KINDS, Recording, base64};

/// A small generator of random numbers, the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }

    fn bytes(&mut self, length: u64) -> Vec<u8> {
        (0..length).map(|_| self.next(256).to_le_bytes()[0]).collect()
    }

    fn word(&mut self) -> String {
        let letters: Vec<char> = "abcxyzABC019 /<&é😀\u{2028}_-%+".chars().collect();
        (0..=self.next(20)).map(|_| letters[usize::try_from(self.next(letters.len() as u64)).unwrap()]).collect()
    }

    fn json(&mut self, depth: u64) -> serde_json::Value {
        match self.next(if depth == 0 { 5 } else { 7 }) {
            0 => serde_json::Value::Null,
            1 => self.next(1_000_000).into(),
            2 => (self.next(1_000) as f64 / 8.0).into(),
            3 | 4 => self.word().into(),
            5 => (0..self.next(5)).map(|_| self.json(depth - 1)).collect(),
            _ => {
                (0..self.next(6)).map(|_| (self.word(), self.json(depth - 1))).collect::<serde_json::Map<_, _>>().into()
            }
        }
    }

    /// Returns JSON in some layout, text, or bytes.
    fn body(&mut self) -> Vec<u8> {
        let json = serde_json::json!({ "id": self.word(), "type": self.word(), "data": self.json(3) });
        match self.next(4) {
            0 => json.to_string().into_bytes(),
            1 => serde_json::to_string_pretty(&json).unwrap().into_bytes(),
            2 => format!("id={}&data={}", self.word(), self.word()).into_bytes(),
            _ => {
                let length = self.next(2_000);
                self.bytes(length)
            }
        }
    }
}

#[test]
fn no_cause_is_named_for_50_random_bodies_and_secrets() {
    let mut random = Random(18);
    for number in 0..50 {
        let (provider, kind) = KINDS[number % KINDS.len()];
        let [sender, given] = [(); 2].map(|()| format!("whsec_{}", base64(&random.bytes(24))));
        let mut recording = Recording::of(provider, kind);
        recording.body = random.body();
        recording = recording.signed(&sender);
        if random.next(2) == 0 {
            recording.body = random.body();
        }
        recording.given = given;
        assert_eq!(recording.is_explained_by(&[]), "invalid", "{number}");
        let report = recording.report(&[]);
        assert_eq!(report["causes"], serde_json::json!([]), "{number}: {report}");
        let stdout = recording.examine(&[]).stdout;
        assert!(stdout.contains("no known cause matches"), "{number}: {stdout}");
        let is_shared = provider == "mediquo";
        assert!(!is_shared || !(stdout.contains("body") || stdout.contains("combinations")), "{stdout}");
    }
}

//! Whether the bodies under `fixtures/` are all there, known, and in the shape they are named for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use medhook::testing::{self, Fixture, StoppedClock, fixtures};
use medhook::{Delivery, Event, Fasten, HealthSync, NoDedupe, Receiver, Secret, fasten, healthsync};

use super::cases;

#[test]
fn the_table_of_fixtures_is_what_is_on_disk() {
    let mut on_disk = BTreeMap::new();
    for folder in read_dir(&root()) {
        if folder.is_dir() {
            for file in read_dir(&folder) {
                let path = file.strip_prefix(root()).expect("below it").to_str().expect("UTF-8").replace('\\', "/");
                on_disk.insert(path, std::fs::read(&file).expect("readable"));
            }
        }
    }
    let table = fixtures().iter().map(|fixture| (fixture.path().to_owned(), fixture.body().to_vec()));
    let table: BTreeMap<_, _> = table.collect();
    assert_eq!(table.keys().collect::<Vec<_>>(), on_disk.keys().collect::<Vec<_>>());
    assert!(table == on_disk, "a fixture has other bytes than its file");
    assert!(fixtures().is_sorted_by_key(Fixture::path), "alphabetical");
}

#[test]
fn every_fixture_has_its_line_in_the_readme() {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("readable");
    for fixture in fixtures() {
        let line = format!("| `{}` |", fixture.path());
        assert_eq!(readme.matches(&line).count(), 1, "{}", fixture.path());
    }
    assert_eq!(readme.matches(".json` |").count(), fixtures().len(), "a line about no fixture");
}

#[test]
fn every_documented_kind_has_a_plain_fixture() {
    for kind in fasten::Kind::ALL {
        let delivery = opened(plain(fasten::Event::PROVIDER, kind.as_str()));
        assert_eq!(delivery.kind(), Some(kind.as_str()));
    }
    for kind in healthsync::Kind::ALL {
        let delivery = opened(plain(healthsync::Event::PROVIDER, kind.as_str()));
        assert_eq!(delivery.kind(), Some(kind.as_str()));
    }
}

#[test]
fn only_a_pretty_body_ends_with_a_line_break() {
    for fixture in fixtures() {
        let pretty = fixture.path().ends_with(".pretty.json");
        assert_eq!(fixture.body().ends_with(b"\n"), pretty, "{}", fixture.path());
    }
}

/// Shapes that some source documents are read without a remark.
#[test]
fn drift_is_found_where_it_is_and_nowhere_else() {
    for fixture in fixtures() {
        let delivery = opened(fixture);
        let drifted = match fixture.provider() {
            fasten::Event::PROVIDER => fasten::Event::from_delivery(&delivery).drifted,
            _ => healthsync::Event::from_delivery(&delivery).drifted,
        };
        let drifted: Vec<&str> = drifted.iter().map(|path| &**path).collect();
        let wanted: &[&str] = match fixture.path() {
            "fasten/patient.ehi_export_success.drifted.json" => {
                &["download_links[1]", "org_connection_id", "stats.total_resources", "stats.total_by_resource_type"]
            }
            "healthsync/document.uploaded.drifted.json" => {
                &["object.file_size", "object.category", "object.uploaded_at"]
            }
            _ => &[],
        };
        assert_eq!(drifted, wanted, "{}", fixture.path());
    }
}

/// A fixture, signed and proven.
pub(super) fn opened(fixture: &Fixture) -> Delivery {
    const SECRET: &str = "whsec_c2VjcmV0IG9mIHR3ZW50eS1mb3VyIGJ5dGVz";
    let (now, secret) = (cases().now, Secret::new("test", SECRET).expect("a sound secret"));
    let (builder, sample) = match fixture.provider() {
        fasten::Event::PROVIDER => {
            (Receiver::builder("test", Fasten::any_mode(secret)), testing::fasten("webhook.test"))
        }
        _ => (Receiver::builder("test", HealthSync::new(secret)), testing::healthsync("document.uploaded")),
    };
    let receiver = builder.store(NoDedupe).clock(StoppedClock::at(now)).build().expect("a sound receiver");
    let request = sample.body(fixture.body()).secret(SECRET).at(now).request("/");
    let proven = receiver.verify(request.headers(), request.body().clone()).expect("proven");
    receiver.open(proven).expect("fresh")
}

fn plain(provider: &str, kind: &str) -> &'static Fixture {
    let path = format!("{provider}/{kind}.json");
    fixtures().iter().find(|fixture| fixture.path() == path).unwrap_or_else(|| panic!("no {path}"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures")
}

fn read_dir(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path).expect("a folder");
    entries.map(|entry| entry.expect("readable").path()).collect()
}

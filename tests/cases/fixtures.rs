//! Tests that the bodies under `fixtures/` are complete, listed, and in the shape that their names say.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use medhook::Delivery;
use medhook::registry::PROVIDERS;
use medhook::testing::{Fixture, fixtures};
use medhook_tests::providers::{read, reads_body_alike};

use super::{cases, verify};

#[test]
fn the_table_of_fixtures_is_what_is_on_disk() {
    let mut on_disk = BTreeMap::new();
    for folder in read_dir(&root()) {
        if folder.is_dir() {
            let is_body = |file: &PathBuf| file.extension().is_some_and(|extension| extension == "json");
            for file in read_dir(&folder).into_iter().filter(is_body) {
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
fn every_fixture_has_its_line_in_the_readme_beside_it() {
    for provider in PROVIDERS {
        let readme = std::fs::read_to_string(root().join(provider.name).join("README.md")).expect("readable");
        let files =
            fixtures().iter().filter_map(|fixture| fixture.path().strip_prefix(provider.name)?.strip_prefix('/'));
        let files: Vec<_> = files.collect();
        for file in &files {
            assert_eq!(readme.matches(&format!("| `{file}` |")).count(), 1, "{} {file}", provider.name);
        }
        assert_eq!(readme.matches(".json` |").count(), files.len(), "{}: a line about no fixture", provider.name);
    }
}

#[test]
fn every_documented_kind_has_a_plain_fixture() {
    for provider in PROVIDERS {
        for kind in provider.kinds {
            assert_eq!(opened(plain(provider.name, kind.name)).kind(), Some(kind.name));
        }
    }
}

#[test]
fn only_a_pretty_body_ends_with_a_line_break() {
    for fixture in fixtures() {
        let pretty = fixture.path().ends_with(".pretty.json");
        assert_eq!(fixture.body().ends_with(b"\n"), pretty, "{}", fixture.path());
    }
}

/// Shapes that some source documents are decoded without a drift report.
#[test]
fn drift_is_reported_exactly_where_it_occurs() {
    for fixture in fixtures() {
        let drifted = read(&opened(fixture)).drifted;
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

#[test]
fn the_stored_kind_and_body_of_every_fixture_decode_as_its_delivery() {
    for fixture in fixtures() {
        let delivery = opened(fixture);
        assert!(reads_body_alike(&delivery), "{}", fixture.path());
    }
}

/// Returns a fixture as delivered by the case that is nothing but the fixture.
pub(super) fn opened(fixture: &Fixture) -> Delivery {
    let cases = cases();
    let case = cases.cases.iter().find(|case| {
        let provider = &cases.endpoints[&case.endpoint].provider;
        case.like.is_none() && *provider == fixture.provider() && case.body == fixture.body()
    });
    verify(cases, case.unwrap_or_else(|| panic!("no case of {}", fixture.path()))).expect("handled")
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

//! Tests of the README and the guides: their examples run, and their links and files exist.

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
#[doc = include_str!("../../CONTRIBUTING.md")]
#[doc = include_str!("../../middleware/actix/README.md")]
#[doc = include_str!("../../middleware/axum/README.md")]
#[doc = include_str!("../../middleware/tower/README.md")]
#[doc = include_str!("../../conformance/README.md")]
#[doc = include_str!("../../docs/azodha.md")]
#[doc = include_str!("../../docs/cair.md")]
#[doc = include_str!("../../docs/fasten.md")]
#[doc = include_str!("../../docs/healthsync.md")]
#[doc = include_str!("../../docs/inbox.md")]
#[doc = include_str!("../../docs/inbox-operations.md")]
#[doc = include_str!("../../docs/mediquo.md")]
#[doc = include_str!("../../docs/migrating.md")]
#[doc = include_str!("../../docs/stores.md")]
#[doc = include_str!("../../docs/testing-handlers.md")]
pub struct Guides;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    #[test]
    fn every_link_has_a_target() {
        let mut links = 0;
        for guide in guides() {
            let text = fs::read_to_string(&guide).unwrap();
            for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
                if link.contains("://") {
                    continue;
                }
                let (file, heading) = link.split_once('#').unwrap_or((link, ""));
                let target = if file.is_empty() { guide.clone() } else { guide.parent().unwrap().join(file) };
                assert!(target.exists(), "{}: {link}", guide.display());
                if !heading.is_empty() {
                    let target = fs::read_to_string(target).unwrap();
                    let found = target.lines().any(|line| anchor(line).as_deref() == Some(heading));
                    assert!(found, "{}: {link}", guide.display());
                }
                links += 1;
            }
        }
        assert!(links > 30, "{links}");
    }

    #[test]
    fn the_index_lists_every_page_once() {
        let index = fs::read_to_string(project().join("docs/README.md")).unwrap();
        let mut pages = 0;
        for page in fs::read_dir(project().join("docs")).unwrap() {
            let name = page.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".md") && name != "README.md" {
                let rows = index.lines().filter(|line| line.contains(&format!("[{name}]({name})"))).count();
                assert_eq!(rows, 1, "docs/README.md lists docs/{name} in {rows} rows");
                pages += 1;
            }
        }
        assert!(pages > 20, "{pages}");
    }

    #[test]
    fn every_provider_has_a_guide_whose_code_is_compiled() {
        let readme = fs::read_to_string(project().join("README.md")).unwrap();
        let this = fs::read_to_string(project().join("tests/src/guides.rs")).unwrap();
        for provider in medhook::registry::PROVIDERS {
            let guide = format!("docs/{}.md", provider.name);
            assert!(project().join(&guide).exists(), "there is no {guide}");
            assert!(readme.contains(&format!("]({guide})")), "README.md does not link {guide}");
            assert!(this.contains(&format!("../../{guide}\")]")), "the code of {guide} is not compiled");
        }
    }

    /// The crate for which this code is written is a dependency of the benchmarks only.
    #[test]
    fn the_guide_to_migrating_has_the_code_that_the_benchmarks_compile() {
        let guide = fs::read_to_string(project().join("docs/migrating.md")).unwrap();
        let (_, block) = guide.split_once("```rust,ignore\n").unwrap();
        let (block, rest) = block.split_once("```\n").unwrap();
        assert!(!rest.contains("rust,ignore"), "another block is not compiled");
        let compiled = fs::read_to_string(project().join("tests/benches/tests/migrating.rs")).unwrap();
        let (_, compiled) = compiled.split_once("// The guide:\n").unwrap();
        assert_eq!(compiled.split_once("// The end.\n").unwrap().0, block);
    }

    /// A reader who follows the steps must find the files.
    #[test]
    fn every_file_in_the_steps_exists() {
        let text = fs::read_to_string(project().join("CONTRIBUTING.md")).unwrap();
        let is_path = |span: &&str| span.contains('/') && !span.contains(['<', '{', '[', ' ', ':', '\n', '(']);
        let paths: Vec<_> = text.split('`').skip(1).step_by(2).filter(is_path).collect();
        for path in &paths {
            assert!(project().join(path).exists(), "{path}");
        }
        assert!(paths.len() > 20, "{paths:?}");
    }

    #[test]
    fn the_pages_of_the_crates_for_frameworks_name_every_feature() {
        for framework in ["axum", "actix", "tower"] {
            let folder = project().join("middleware").join(framework);
            let page = fs::read_to_string(folder.join("README.md")).unwrap();
            let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
            let (_, features) = manifest.split_once("\n[features]\n").unwrap();
            let lines = features.lines().take_while(|line| !line.starts_with('['));
            let names = lines.filter_map(|line| Some(line.split_once(" = ")?.0)).filter(|name| *name != "default");
            let missing: Vec<_> = names.clone().filter(|name| !page.contains(&format!("`{name}`"))).collect();
            assert!(missing.is_empty() && names.count() > 10, "{framework}: {missing:?}");
        }
    }

    #[test]
    fn the_justfile_names_every_script_that_is_run_by_itself() {
        let justfile = fs::read_to_string(project().join("justfile")).unwrap();
        let named: Vec<_> = justfile.lines().filter_map(|line| line.trim().strip_prefix("scripts/")).collect();
        let named: Vec<_> = named.iter().map(|command| command.split(' ').next().unwrap()).collect();
        let mut scripts = 0;
        for script in fs::read_dir(project().join("scripts")).unwrap() {
            let script = script.unwrap();
            let name = script.file_name().into_string().unwrap();
            let text = fs::read_to_string(script.path()).unwrap();
            let purpose = text.lines().nth(1).unwrap();
            let is_part = purpose.starts_with("# Run by scripts/") || purpose.starts_with("# Sourced by ");
            let times = named.iter().filter(|one| **one == name).count();
            assert_eq!(times, usize::from(!is_part), "the justfile names scripts/{name} {times} times");
            scripts += 1;
        }
        assert!(scripts > 40, "{scripts}");
    }

    #[test]
    fn every_example_shuts_down_on_signals_under_one_deadline() {
        let mut examples = 0;
        for example in fs::read_dir(project().join("examples")).unwrap() {
            let main = example.unwrap().path().join("src/main.rs");
            let Ok(text) = fs::read_to_string(&main) else { continue };
            assert!(text.contains("Shutdown::on_signals("), "{}", main.display());
            assert!(text.contains("shutdown.serve("), "{}", main.display());
            assert!(!text.contains("ctrl_c"), "{}", main.display());
            examples += 1;
        }
        assert!(examples >= 8, "{examples}");
    }

    fn guides() -> Vec<PathBuf> {
        let folders = [
            "",
            "docs",
            "cli",
            "conformance",
            "contrib",
            "examples",
            "fixtures",
            "middleware/axum",
            "middleware/actix",
            "middleware/tower",
            "tests",
        ];
        let files = folders.iter().flat_map(|folder| fs::read_dir(project().join(folder)).unwrap());
        let files = files.map(|file| file.unwrap().path());
        files.filter(|file| file.extension().is_some_and(|extension| extension == "md")).collect()
    }

    /// Returns the anchor that GitHub makes of a heading.
    fn anchor(line: &str) -> Option<String> {
        let heading = line.strip_prefix('#')?.trim_start_matches('#').trim();
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        Some(kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect())
    }

    fn project() -> &'static Path {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
    }
}

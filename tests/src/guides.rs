//! Tests of the README and the guides: their examples run, and their links and files exist.

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
#[doc = include_str!("../../CONTRIBUTING.md")]
#[doc = include_str!("../../middleware/actix/README.md")]
#[doc = include_str!("../../middleware/axum/README.md")]
#[doc = include_str!("../../middleware/tower/README.md")]
#[doc = include_str!("../../conformance/README.md")]
#[doc = include_str!("../../docs/fasten.md")]
#[doc = include_str!("../../docs/healthsync.md")]
#[doc = include_str!("../../docs/inbox.md")]
#[doc = include_str!("../../docs/inbox-operations.md")]
#[doc = include_str!("../../docs/stores.md")]
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
        let folders =
            ["", "docs", "cli", "examples", "fixtures", "middleware/axum", "middleware/actix", "middleware/tower"];
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

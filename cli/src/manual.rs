//! `medhook man`: manual pages.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap_mangen::{Man, generate_to};

use crate::failure::Failure;
use crate::output::print_text;
use crate::verdict::Verdict;

/// Write the manual pages of this command.
///
/// Without --out, the page of the command itself is written to standard output. With
/// --out, a page for each subcommand is written to a folder, which must exist; pages
/// that are already there are replaced.
#[derive(Debug, clap::Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Examples:\n  medhook man --out ~/.local/share/man/man1\n  medhook man | man -l -"
)]
pub(crate) struct ManArgs {
    /// Folder for a page of each subcommand, such as ~/.local/share/man/man1
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Runs the command. `cli` is the whole command line.
pub(crate) fn run(args: &ManArgs, cli: clap::Command, out: &mut dyn Write) -> Result<Verdict, Failure> {
    // It has a page of its own for each subcommand otherwise.
    let cli = cli.disable_help_subcommand(true);
    match &args.out {
        Some(folder) => write_pages(cli, folder)?,
        None => {
            let mut page = Vec::new();
            let rendered = Man::new(cli).render(&mut page);
            rendered.map_err(|error| Failure::because("cannot write the manual page", error))?;
            print_text(out, &String::from_utf8_lossy(&page))?;
        }
    }
    Ok(Verdict::Success)
}

fn write_pages(cli: clap::Command, folder: &Path) -> Result<(), Failure> {
    let wrong = |problem: &dyn std::fmt::Display| Failure::new(format!("--out: {}: {problem}", folder.display()));
    if !folder.is_dir() {
        return Err(wrong(&"not a folder; create it first"));
    }
    generate_to(cli, folder).map_err(|error| wrong(&error))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_subcommand_has_a_page_and_the_main_page_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let args = ManArgs { out: Some(folder.path().to_owned()) };
        run(&args, crate::Cli::command(), &mut Vec::new()).unwrap();
        let mut page = Vec::new();
        run(&ManArgs { out: None }, crate::Cli::command(), &mut page).unwrap();
        let page = String::from_utf8(page).unwrap();
        for command in crate::Cli::command().get_subcommands() {
            let name = command.get_name();
            assert!(page.contains(name), "{name}");
            let of_command = folder.path().join(format!("medhook-{name}.1"));
            let of_command = std::fs::read_to_string(&of_command).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(of_command.contains("Example"), "{name}");
            for nested in command.get_subcommands() {
                let file = folder.path().join(format!("medhook-{name}-{}.1", nested.get_name()));
                assert!(file.exists(), "{}", file.display());
            }
        }
    }

    #[test]
    fn a_missing_folder_is_named() {
        let args = ManArgs { out: Some("/nonexistent/man1".into()) };
        let failure = run(&args, crate::Cli::command(), &mut Vec::new()).err().unwrap().to_string();
        assert_eq!(failure, "--out: /nonexistent/man1: not a folder; create it first");
    }
}

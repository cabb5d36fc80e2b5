//! Puts every mutant of a list of `cargo mutants --list --json` behind a switch, so that one build contains them all:
//! `medhook-mutants LIST EXCLUDED TREE`.
//!
//! LIST is the file with the list; a mutant's number is its place there. EXCLUDED is a file with the numbers of mutants
//! that do not compile. TREE is a copy of the repository; its files in the list are overwritten, and the root module of
//! each crate gets the module `mutants`, whose function `on` tells whether a mutant is switched on. The inserted code
//! of each mutant stands between `/*<NUMBER*/` and `/*>NUMBER*/`, by which `scripts/mutants` finds the mutants that do
//! not compile. Prints each mutant that has no switch, with the reason: its number, a tab, and `constant` where code is
//! evaluated by the compiler, or `form` where an expression cannot contain a switch.

mod render;
mod sites;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::{env, fs};

use serde::Deserialize;

/// A mutant as cargo-mutants lists it.
#[derive(Debug, Clone, Deserialize)]
struct Mutant {
    #[serde(skip)]
    number: usize,
    file: String,
    genre: Genre,
    replacement: String,
    span: Span,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Genre {
    FnValue,
    BinaryOperator,
    UnaryOperator,
    MatchArm,
    MatchArmGuard,
    StructField,
}

#[derive(Debug, Clone, Deserialize)]
struct Span {
    start: Position,
}

/// A place in a file, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
struct Position {
    line: usize,
    column: usize,
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [list, excluded, tree] = &arguments[..] else {
        return Err("usage: medhook-mutants LIST EXCLUDED TREE".into());
    };
    let excluded: BTreeSet<usize> =
        fs::read_to_string(excluded)?.split_whitespace().map(str::parse).collect::<std::result::Result<_, _>>()?;
    let mut list: Vec<Mutant> = serde_json::from_str(&fs::read_to_string(list)?)?;
    let count = list.len();
    for (number, mutant) in list.iter_mut().enumerate() {
        mutant.number = number;
    }
    let mut files: BTreeMap<String, Vec<Mutant>> = BTreeMap::new();
    for mutant in list.into_iter().filter(|mutant| !excluded.contains(&mutant.number)) {
        files.entry(mutant.file.clone()).or_default().push(mutant);
    }
    let mut roots = BTreeSet::new();
    for (name, mutants) in files {
        let path = Path::new(tree).join(&name);
        let source = fs::read_to_string(&path)?;
        let (nodes, without) = sites::find(&source, &mutants).map_err(|error| format!("{name}: {error}"))?;
        for (number, reason) in without {
            println!("{number}\t{reason}");
        }
        fs::write(&path, render::render(&source, &nodes))?;
        let folder = name.split_once("src/").ok_or("a file outside of src")?.0;
        roots.insert(Path::new(tree).join(folder).join("src/lib.rs"));
    }
    for root in roots {
        let code = fs::read_to_string(&root)?;
        fs::write(&root, code + &include_str!("switch.rs").replace("COUNT", &count.to_string()))?;
    }
    Ok(())
}

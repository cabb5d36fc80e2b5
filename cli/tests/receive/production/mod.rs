//! The commands of docs/production.md, run as they are printed there against real receivers on SQLite and PostgreSQL.
//!
//! - `guide`: the blocks of the page; `stage`: a receiver, its files, and an application; `events`: its deliveries
//! - `watching`, `restoring`, `rotating`, `inbox_keys`, `upgrading`: the drills; `sizing`: figures
//!
//! `scripts/production-drills` installs the programs that the commands need. Without one of them, a drill is skipped.

mod events;
mod guide;
mod inbox_keys;
mod restoring;
mod rotating;
mod sizing;
mod stage;
mod upgrading;
mod watching;

/// Blocks that need a system or a cluster.
const NOT_RUN: [&str; 3] = ["reload", "stop", "restart"];

#[test]
fn every_block_of_the_guide_is_run_or_says_why_not() {
    let drills: [&[&str]; 10] = [
        &["variables"],
        &watching::BLOCKS,
        &restoring::SQLITE,
        &restoring::POSTGRES,
        &rotating::PROVIDER,
        &rotating::CERTIFICATE,
        &rotating::TOKEN,
        &inbox_keys::SQLITE,
        &inbox_keys::POSTGRES,
        &upgrading::BLOCKS,
    ];
    let mut run: Vec<_> = drills.concat();
    run.sort_unstable();
    run.dedup();
    let blocks = guide::blocks();
    let named = |is_run: bool| {
        let names = blocks.iter().filter(|block| block.not_run.is_none() == is_run);
        let mut names: Vec<_> = names.map(|block| block.name).collect();
        names.sort_unstable();
        names
    };
    assert_eq!(named(true), run, "a block without a drill, or a drill whose block is no longer in the guide");
    let mut not_run = NOT_RUN.to_vec();
    not_run.sort_unstable();
    assert_eq!(named(false), not_run);
    for block in blocks.iter().filter(|block| block.not_run.is_some()) {
        assert!(block.commands.starts_with("# not run\n"), "{}: readers are not told", block.name);
        println!("{}: not run: {}", block.name, block.not_run.unwrap_or_default());
    }
}

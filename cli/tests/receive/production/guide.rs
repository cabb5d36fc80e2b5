//! The blocks of commands in docs/production.md, each with its name in a comment before it.

const GUIDE: &str = include_str!("../../../../docs/production.md");

pub(super) struct Block {
    pub(super) name: &'static str,
    pub(super) commands: String,
    /// The reason why the block is not run.
    pub(super) not_run: Option<&'static str>,
}

/// Returns all blocks. A block without a name, and a name that occurs twice, are mistakes.
pub(super) fn blocks() -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let (mut lines, mut before) = (GUIDE.lines(), "");
    while let Some(line) = lines.next() {
        if line.trim_start() == "```sh" {
            let marker = before.trim().strip_prefix("<!-- drill: ").and_then(|rest| rest.strip_suffix(" -->"));
            let marker = marker.unwrap_or_else(|| panic!("a block without a name: {:?}", lines.next()));
            let (name, not_run) = match marker.split_once(" (not run: ") {
                Some((name, reason)) => (name, Some(reason.strip_suffix(')').unwrap())),
                None => (marker, None),
            };
            assert!(blocks.iter().all(|block| block.name != name), "two blocks have the name {name}");
            let indent = line.len() - line.trim_start().len();
            let inside = lines.by_ref().take_while(|line| line.trim() != "```");
            let commands = inside.map(|line| format!("{}\n", line.get(indent..).unwrap_or_default())).collect();
            blocks.push(Block { name, commands, not_run });
        }
        before = line;
    }
    blocks
}

/// Returns the commands of a block.
pub(super) fn commands(name: &str) -> String {
    let block = blocks().into_iter().find(|block| block.name == name && block.not_run.is_none());
    block.unwrap_or_else(|| panic!("the guide has no block {name} that is run")).commands
}

/// Returns the lines of a section.
fn section(heading: &str) -> impl Iterator<Item = &'static str> {
    let (_, text) = GUIDE.split_once(&format!("\n## {heading}\n")).unwrap();
    text.lines().take_while(|line| !line.starts_with("## "))
}

/// Returns the commands in the table of the section "On call".
pub(super) fn on_call() -> Vec<&'static str> {
    let rows = section("On call").filter(|line| line.starts_with("| ") && line.contains('`'));
    rows.map(|row| row.split('|').nth(2).unwrap().trim().trim_matches('`')).collect()
}

/// Returns the message about a lost key, up to what differs.
pub(super) fn lost_key() -> &'static str {
    let mut lines = section("Secrets").skip_while(|line| *line != "```text");
    lines.nth(1).unwrap().split_once(" (ids: ").unwrap().0
}

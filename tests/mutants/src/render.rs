//! Writes the code of a file with its switches.

use std::fmt::Write;
use std::ops::Range;

/// A place of a file whose code gets switches.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) range: Range<usize>,
    pub(crate) form: Form,
}

/// The way in which the switches are written. Ranges are those of the file.
#[derive(Debug)]
pub(crate) enum Form {
    /// A function's block: each mutant returns a value at once.
    Block(Vec<(usize, String)>),
    /// The block of a function that returns some iterator: an empty one. It must have the same type.
    Iterator { mutant: usize },
    /// An operator between two values that are both evaluated: other operators.
    Operator { left: Range<usize>, operator: Range<usize>, right: Range<usize>, mutants: Vec<(usize, String)> },
    /// `&&`, or `||` if `or`: the other one of the two. Written without a copy of the operands, since copies of long
    /// conditions would grow exponentially.
    Lazy { left: Range<usize>, right: Range<usize>, or: bool, mutant: usize },
    /// A unary operator: the operand alone.
    Without { operand: Range<usize>, mutant: usize },
    /// The guard of an arm: another one, or no match at all.
    Guard { mutants: Vec<(usize, String)>, deleted: Option<usize> },
    /// The place behind a pattern without a guard: no match.
    NoGuard { deleted: usize },
    /// A struct: the same without one of its fields.
    Struct(Vec<(usize, Range<usize>)>),
}

/// `nodes` are sorted by their start, outer ones first.
pub(crate) fn render(source: &str, nodes: &[Node]) -> String {
    Renderer { source, nodes }.range(0..source.len(), None)
}

struct Renderer<'s> {
    source: &'s str,
    nodes: &'s [Node],
}

impl Renderer<'_> {
    /// Renders a range, with the switches of all nodes in it except `outer` and those before.
    fn range(&self, range: Range<usize>, outer: Option<usize>) -> String {
        let mut code = String::new();
        let mut at = range.start;
        for (index, node) in self.nodes.iter().enumerate().skip(outer.map_or(0, |outer| outer + 1)) {
            if node.range.start >= at && node.range.end <= range.end {
                code += &self.source[at..node.range.start];
                code += &self.node(index);
                at = node.range.end;
            }
        }
        code + &self.source[at..range.end]
    }

    fn node(&self, index: usize) -> String {
        let node = &self.nodes[index];
        let text = |range: &Range<usize>| self.range(range.clone(), Some(index));
        match &node.form {
            Form::Block(mutants) => {
                let mut code = "{".to_owned();
                for (number, value) in mutants {
                    write!(code, " if {} {{ return {}; }}", on(*number), marked(*number, value)).unwrap();
                }
                code + &text(&(node.range.start + 1..node.range.end))
            }
            Form::Iterator { mutant } => {
                let skipped = marked(*mutant, &format!(".skip(if {} {{ usize::MAX }} else {{ 0 }})", on(*mutant)));
                format!("{{ ({}){skipped} }}", text(&node.range))
            }
            Form::Operator { left, operator, right, mutants } => {
                let (left, right) = (text(left), text(right));
                let mut code = "(".to_owned();
                for (number, other) in mutants {
                    let other = marked(*number, &format!("({left}) {other} ({right})"));
                    write!(code, "if {} {{ {other} }} else ", on(*number)).unwrap();
                }
                code + &format!("{{ {left} {} {right} }})", &self.source[operator.clone()])
            }
            Form::Lazy { left, right, or, mutant } => {
                let (left, right) = (text(left), text(right));
                let differs = if *or { "==" } else { "!=" };
                let code = format!(
                    "let mutant_left = {left}; if mutant_left {differs} {} {{ {right} }} else {{ mutant_left }}",
                    on(*mutant),
                );
                format!("({{ {} }})", marked(*mutant, &code))
            }
            Form::Without { operand, mutant } => {
                let whole = &self.source[node.range.start..operand.start];
                let operand = text(operand);
                let other = marked(*mutant, &operand);
                format!("(if {} {{ {other} }} else {{ {whole}{operand} }})", on(*mutant))
            }
            Form::Guard { mutants, deleted } => {
                let mut code = String::new();
                if let Some(number) = deleted {
                    write!(code, "{} && ", marked(*number, &format!("!{}", on(*number)))).unwrap();
                }
                code += "(";
                for (number, other) in mutants {
                    write!(code, "if {} {{ {} }} else ", on(*number), marked(*number, other)).unwrap();
                }
                code + &format!("{{ {} }})", text(&node.range))
            }
            Form::NoGuard { deleted } => format!(" if {}", marked(*deleted, &format!("!{}", on(*deleted)))),
            Form::Struct(mutants) => {
                let mut code = "(".to_owned();
                for (number, field) in mutants {
                    let (before, after) = (node.range.start..field.start, field.end..node.range.end);
                    let other = marked(*number, &format!("{}{}", text(&before), text(&after)));
                    write!(code, "if {} {{ {other} }} else ", on(*number)).unwrap();
                }
                code + &format!("{{ {} }})", text(&node.range))
            }
        }
    }
}

fn on(number: usize) -> String {
    format!("crate::mutants::on({number})")
}

fn marked(number: usize, code: &str) -> String {
    format!("/*<{number}*/{code}/*>{number}*/")
}

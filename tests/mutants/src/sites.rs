//! Finds the place of each mutant in the syntax tree of its file.

use std::collections::HashMap;
use std::ops::Range;

use proc_macro2::LineColumn;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Arm, BinOp, Block, Expr, ReturnType, Signature, Type};

use crate::render::{Form, Node};
use crate::{Genre, Mutant, Position};

/// The places, sorted by their start, outer ones first; and the numbers of mutants without a place, with the reason.
type Found = (Vec<Node>, Vec<(usize, &'static str)>);

pub(crate) fn find(source: &str, mutants: &[Mutant]) -> syn::Result<Found> {
    let mut lines = vec![0];
    lines.extend(source.match_indices('\n').map(|(at, _)| at + 1));
    let mut by_place: HashMap<Position, Vec<&Mutant>> = HashMap::new();
    for mutant in mutants {
        by_place.entry(mutant.span.start).or_default().push(mutant);
    }
    let mut finder = Finder { source, lines, mutants: by_place, constant: 0, nodes: Vec::new(), without: Vec::new() };
    finder.visit_file(&syn::parse_file(source)?);
    let Finder { mut nodes, mut without, mutants, .. } = finder;
    without.extend(mutants.into_values().flatten().map(|mutant| (mutant.number, "form")));
    nodes.sort_by_key(|node| (node.range.start, usize::MAX - node.range.end));
    Ok((nodes, without))
}

struct Finder<'m> {
    source: &'m str,
    /// The offset of each line.
    lines: Vec<usize>,
    /// The mutants whose place has not been found yet.
    mutants: HashMap<Position, Vec<&'m Mutant>>,
    /// The number of constants around this place.
    constant: usize,
    nodes: Vec<Node>,
    without: Vec<(usize, &'static str)>,
}

impl Finder<'_> {
    fn offset(&self, place: LineColumn) -> usize {
        let line = self.lines[place.line - 1];
        line + self.source[line..].chars().take(place.column).map(char::len_utf8).sum::<usize>()
    }

    fn range(&self, of: &impl Spanned) -> Range<usize> {
        let span = of.span();
        self.offset(span.start())..self.offset(span.end())
    }

    /// Takes the mutants of a genre that begin where the piece of code does. In a constant there is none.
    fn take(&mut self, genre: Genre, at: &impl Spanned) -> Vec<(usize, String)> {
        let start = at.span().start();
        let place = Position { line: start.line, column: start.column + 1 };
        let Some(here) = self.mutants.get_mut(&place) else { return Vec::new() };
        let (taken, left) = here.drain(..).partition(|mutant| mutant.genre == genre);
        *here = left;
        let taken: Vec<&Mutant> = taken;
        if self.constant > 0 {
            self.without.extend(taken.into_iter().map(|mutant| (mutant.number, "constant")));
            return Vec::new();
        }
        taken.into_iter().map(|mutant| (mutant.number, mutant.replacement.clone())).collect()
    }

    fn constant(&mut self, visit: impl FnOnce(&mut Self)) {
        self.constant += 1;
        visit(self);
        self.constant -= 1;
    }

    fn function(&mut self, signature: &Signature, block: &Block, visit: impl FnOnce(&mut Self)) {
        self.constant += usize::from(signature.constness.is_some());
        if let Some(first) = block.stmts.first() {
            let mut mutants = self.take(Genre::FnValue, first);
            if matches!(&signature.output, ReturnType::Type(_, value) if matches!(**value, Type::ImplTrait(_))) {
                // Other values have other types.
                let (empty, others) = mutants.drain(..).partition(|(_, value)| value == "::std::iter::empty()");
                mutants = others;
                let empty: Vec<_> = empty;
                for (mutant, _) in empty {
                    self.nodes.push(Node { range: self.range(block), form: Form::Iterator { mutant } });
                }
            }
            if !mutants.is_empty() {
                self.nodes.push(Node { range: self.range(block), form: Form::Block(mutants) });
            }
        }
        visit(self);
        self.constant -= usize::from(signature.constness.is_some());
    }
}

/// Returns whether a condition binds a name with `let`. It cannot be moved into another expression.
fn binds(condition: &Expr) -> bool {
    match condition {
        Expr::Let(_) => true,
        Expr::Binary(binary) => matches!(binary.op, BinOp::And(_)) && (binds(&binary.left) || binds(&binary.right)),
        _ => false,
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.sig, &item.block, |finder| visit::visit_item_fn(finder, item));
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.sig, &item.block, |finder| visit::visit_impl_item_fn(finder, item));
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        match &item.default {
            Some(block) => self.function(&item.sig, block, |finder| visit::visit_trait_item_fn(finder, item)),
            None => visit::visit_trait_item_fn(self, item),
        }
    }

    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.constant(|finder| visit::visit_item_const(finder, item));
    }

    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        self.constant(|finder| visit::visit_item_static(finder, item));
    }

    fn visit_impl_item_const(&mut self, item: &'ast syn::ImplItemConst) {
        self.constant(|finder| visit::visit_impl_item_const(finder, item));
    }

    fn visit_trait_item_const(&mut self, item: &'ast syn::TraitItemConst) {
        self.constant(|finder| visit::visit_trait_item_const(finder, item));
    }

    fn visit_type_array(&mut self, array: &'ast syn::TypeArray) {
        self.constant(|finder| visit::visit_type_array(finder, array));
    }

    fn visit_expr_const(&mut self, block: &'ast syn::ExprConst) {
        self.constant(|finder| visit::visit_expr_const(finder, block));
    }

    fn visit_expr_repeat(&mut self, repeat: &'ast syn::ExprRepeat) {
        self.visit_expr(&repeat.expr);
        self.constant(|finder| finder.visit_expr(&repeat.len));
    }

    fn visit_variant(&mut self, variant: &'ast syn::Variant) {
        self.constant(|finder| visit::visit_variant(finder, variant));
    }

    fn visit_expr_binary(&mut self, binary: &'ast syn::ExprBinary) {
        let mutants = self.take(Genre::BinaryOperator, &binary.op);
        if !mutants.is_empty() {
            let (left, right) = (self.range(&binary.left), self.range(&binary.right));
            let lazy = matches!(binary.op, BinOp::And(_) | BinOp::Or(_));
            if binds(&binary.left) || binds(&binary.right) {
                self.without.extend(mutants.into_iter().map(|(number, _)| (number, "form")));
            } else if let ([(number, _)], true) = (&mutants[..], lazy) {
                let form = Form::Lazy { left, right, or: matches!(binary.op, BinOp::Or(_)), mutant: *number };
                self.nodes.push(Node { range: self.range(binary), form });
            } else {
                let form = Form::Operator { left, operator: self.range(&binary.op), right, mutants };
                self.nodes.push(Node { range: self.range(binary), form });
            }
        }
        visit::visit_expr_binary(self, binary);
    }

    fn visit_expr_unary(&mut self, unary: &'ast syn::ExprUnary) {
        if let [(mutant, _)] = self.take(Genre::UnaryOperator, unary)[..] {
            let form = Form::Without { operand: self.range(&unary.expr), mutant };
            self.nodes.push(Node { range: self.range(unary), form });
        }
        visit::visit_expr_unary(self, unary);
    }

    fn visit_arm(&mut self, arm: &'ast Arm) {
        let deleted = self.take(Genre::MatchArm, arm).first().map(|(number, _)| *number);
        match &arm.guard {
            Some((_, guard)) => {
                let mutants = self.take(Genre::MatchArmGuard, guard);
                if binds(guard) {
                    let all = mutants.into_iter().map(|(number, _)| number).chain(deleted);
                    self.without.extend(all.map(|number| (number, "form")));
                } else if deleted.is_some() || !mutants.is_empty() {
                    self.nodes.push(Node { range: self.range(guard), form: Form::Guard { mutants, deleted } });
                }
            }
            None => {
                if let Some(deleted) = deleted {
                    let end = self.range(&arm.pat).end;
                    self.nodes.push(Node { range: end..end, form: Form::NoGuard { deleted } });
                }
            }
        }
        visit::visit_arm(self, arm);
    }

    fn visit_expr_struct(&mut self, structure: &'ast syn::ExprStruct) {
        let mut mutants = Vec::new();
        for pair in structure.fields.pairs() {
            for (number, _) in self.take(Genre::StructField, pair.value()) {
                let mut range = self.range(pair.value());
                if let Some(comma) = pair.punct() {
                    range.end = self.range(comma).end;
                }
                mutants.push((number, range));
            }
        }
        if !mutants.is_empty() {
            self.nodes.push(Node { range: self.range(structure), form: Form::Struct(mutants) });
        }
        visit::visit_expr_struct(self, structure);
    }
}

//! Licence expressions, as SPDX has them: `MIT OR (Apache-2.0 AND ISC)`. The old `MIT/Apache-2.0` means `OR`.

/// Whether an expression can be satisfied with nothing but allowed licences. One that makes no sense cannot.
#[must_use]
pub fn is_allowed(expression: &str, allowed: &dyn Fn(&str) -> bool) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words: Vec<&str> = spaced.split_whitespace().rev().collect();
    any(&mut words, allowed) == Some(true) && words.is_empty()
}

fn any(words: &mut Vec<&str>, allowed: &dyn Fn(&str) -> bool) -> Option<bool> {
    let mut so_far = all(words, allowed)?;
    while words.last() == Some(&"OR") {
        words.pop();
        so_far |= all(words, allowed)?;
    }
    Some(so_far)
}

fn all(words: &mut Vec<&str>, allowed: &dyn Fn(&str) -> bool) -> Option<bool> {
    let mut so_far = one(words, allowed)?;
    while words.last() == Some(&"AND") {
        words.pop();
        so_far &= one(words, allowed)?;
    }
    Some(so_far)
}

fn one(words: &mut Vec<&str>, allowed: &dyn Fn(&str) -> bool) -> Option<bool> {
    match words.pop()? {
        "(" => any(words, allowed).filter(|_| words.pop() == Some(")")),
        ")" | "OR" | "AND" | "WITH" => None,
        licence if words.last() == Some(&"WITH") => {
            words.pop();
            Some(allowed(&format!("{licence} WITH {}", words.pop()?)))
        }
        licence => Some(allowed(licence)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_is_allowed_if_some_way_through_it_is() {
        let allowed = |licence: &str| ["MIT", "ISC"].contains(&licence);
        for expression in ["MIT", "GPL-3.0 OR MIT", "GPL-3.0/MIT", "MIT AND ISC", "(GPL-3.0 OR ISC) AND MIT"] {
            assert!(is_allowed(expression, &allowed), "{expression}");
        }
        for expression in
            ["GPL-3.0", "MIT AND GPL-3.0", "(MIT OR ISC) AND GPL-3.0", "MIT WITH x", "", "MIT OR", "(MIT", "MIT MIT"]
        {
            assert!(!is_allowed(expression, &allowed), "{expression}");
        }
    }
}

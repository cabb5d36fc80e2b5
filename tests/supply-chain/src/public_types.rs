//! Whose types a crate's public face shows, by rustdoc's JSON; held against the list in the crate's `Cargo.toml`.

use std::collections::BTreeSet;

use serde_json::Value;

/// The crates, other than itself and the standard library, whose types and traits are named in the public items of a
/// crate: in signatures, fields, aliases, bounds, implemented traits and re-exports.
#[must_use]
pub fn shown_by(rustdoc: &Value) -> BTreeSet<String> {
    let mut shown = BTreeSet::new();
    for item in rustdoc["index"].as_object().into_iter().flat_map(|index| index.values()) {
        // What a derive or a blanket implementation brings, every crate has that names the trait itself.
        let of_a_blanket = !item["inner"]["impl"]["blanket_impl"].is_null();
        let synthetic = item["inner"]["impl"]["is_synthetic"] == true;
        if item["crate_id"] == 0 && !of_a_blanket && !synthetic {
            collect(&item["inner"], rustdoc, &mut shown);
        }
    }
    shown
}

fn collect(part: &Value, rustdoc: &Value, shown: &mut BTreeSet<String>) {
    match part {
        Value::Object(members) => {
            // A path, whatever it stands for, is an object with an `id` and its `path`; a re-export has its `source`.
            if members.contains_key("path") || members.contains_key("source") {
                shown.extend(crate_of(&members["id"], rustdoc));
            }
            members.values().for_each(|member| collect(member, rustdoc, shown));
        }
        Value::Array(elements) => elements.iter().for_each(|element| collect(element, rustdoc, shown)),
        _ => {}
    }
}

fn crate_of(id: &Value, rustdoc: &Value) -> Option<String> {
    let path = &rustdoc["paths"][id.as_u64()?.to_string()];
    let number = path["crate_id"].as_u64().filter(|number| *number != 0)?;
    let name = rustdoc["external_crates"][number.to_string()]["name"].as_str()?;
    let standard = ["core", "alloc", "std"].contains(&name);
    (!standard).then(|| name.to_owned())
}

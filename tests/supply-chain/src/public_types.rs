//! Finds the crates whose types the public API of a crate shows, in rustdoc's JSON.

use std::collections::BTreeSet;

use serde_json::Value;

/// Returns the crates, except for itself and the standard library, whose types and traits occur in the public items
/// of a crate: in signatures, fields, aliases, bounds, implemented traits and re-exports.
#[must_use]
pub fn shown_by(rustdoc: &Value) -> BTreeSet<String> {
    let mut shown = BTreeSet::new();
    for item in rustdoc["index"].as_object().into_iter().flat_map(|index| index.values()) {
        // Every crate that names a trait has the items of its derives and blanket implementations.
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
            // A path of any kind is an object with an `id` and its `path`; a re-export has its `source`.
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

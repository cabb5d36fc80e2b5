//! Writes every property's seeds into the corpora: `cargo run --example seeds`.

use std::fs;
use std::path::Path;

use medhook_properties::PROPERTIES;

fn main() -> std::io::Result<()> {
    for property in PROPERTIES {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(property.name);
        fs::create_dir_all(&folder)?;
        for (number, seed) in (property.seeds)().into_iter().enumerate() {
            fs::write(folder.join(format!("seed-{number}")), seed)?;
        }
    }
    Ok(())
}

//! Runs a property and limits the memory that it takes.

use allocation_counter::measure;
use medhook_properties::{most_memory, property};

/// Panics if the property does not hold, or takes more memory than any honest length needs.
pub fn holds(name: &str, data: &[u8]) {
    let holds = property(name).holds;
    let took = measure(|| holds(data)).bytes_max;
    assert!(took <= most_memory(data.len()), "{took} bytes for {}", data.len());
}

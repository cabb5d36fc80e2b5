//! A property, held, and the memory that took.

use allocation_counter::measure;
use medhook_properties::{most_memory, property};

/// Panics where the property does not hold, or took more memory than any honest length asks for.
pub fn holds(name: &str, data: &[u8]) {
    let holds = property(name).holds;
    let took = measure(|| holds(data)).bytes_max;
    assert!(took <= most_memory(data.len()), "{took} bytes for {}", data.len());
}

//! One suite for all stores. A new store is a file that says how to get one, and a line here.

mod memory;
mod sqlite;
mod suite;

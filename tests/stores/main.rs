//! One suite for all stores. A new store is a file that says how to get one, and a line here.
//!
//! What stores on servers do beyond it, when their server goes away, stands in `servers/`.

mod memory;
mod postgres;
mod redis;
mod servers;
mod sqlite;
mod suite;

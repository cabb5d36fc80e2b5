//! One suite for all stores. A new store is a file that creates it, and a line here.
//!
//! `servers/` has further tests of stores on servers, for example when their server goes away.

mod memory;
mod postgres;
mod redis;
mod servers;
mod sqlite;
mod suite;

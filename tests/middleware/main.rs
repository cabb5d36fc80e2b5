//! Over real sockets, against every framework: the same deliveries, the same answers.

mod cases;
mod framing;
mod handling;
mod servers;

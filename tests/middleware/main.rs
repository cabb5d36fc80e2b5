//! Over real sockets, against every framework: the same deliveries, the same answers.

mod cases;
mod connections;
mod endpoint;
mod extractors;
mod framing;
mod handling;
mod hostile;
mod http2;
mod layers;
mod servers;

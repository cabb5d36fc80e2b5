//! Tests over real sockets: every framework gets the same deliveries and must give the same responses.

mod cases;
mod connections;
mod endpoint;
mod extractors;
mod framing;
mod handling;
mod handshakes;
mod hostile;
mod http2;
mod inbox;
mod inbox_workers;
mod layers;
mod logged;
mod servers;
mod unseen;

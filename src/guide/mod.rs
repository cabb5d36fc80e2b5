//! Guides for running receivers in production. They apply to every web framework.

/// One receiver for each tenant.
///
#[doc = include_str!("tenants.md")]
pub mod tenants {}

/// Storing events before they are handled.
///
#[doc = include_str!("inbox.md")]
pub mod inbox {}

/// Schemes: how the deliveries of each sender are authenticated.
///
#[doc = include_str!("schemes.md")]
pub mod schemes {}

/// Handshakes: the checks that a provider makes before it sends events.
///
#[doc = include_str!("handshakes.md")]
pub mod handshakes {}

/// Reverse proxies and load balancers.
///
#[doc = include_str!("proxies.md")]
pub mod proxies {}

/// Other layers and middlewares of the application.
///
#[doc = include_str!("layers.md")]
pub mod layers {}

/// Shutting down without losing deliveries.
///
#[doc = include_str!("shutdown.md")]
pub mod shutdown {}

/// Rotating secrets without a restart.
///
#[doc = include_str!("rotation.md")]
pub mod rotation {}

/// Noticing that deliveries stopped, and what to do after an outage.
///
#[doc = include_str!("silence.md")]
pub mod silence {}

/// The log lines, and how to see them.
///
#[doc = include_str!("logs.md")]
pub mod logs {}

//! The presets of `timestamped-hmac`.

use clap::ValueEnum;

/// The settings of a known provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Preset {
    Terra,
    Whoop,
    Oura,
}

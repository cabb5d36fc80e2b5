//! Adapts to the system: raises the limit of open files, detects a discarded output, and writes warnings to the log.

use std::io::{self, Write};

use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;

use super::config::{Config, EndpointConfig};
use super::operations::OPERATIONS;
use super::printer::Printer;

/// Returns whether the output is /dev/null, which the standard library also opens in place of a closed standard stream.
pub(super) fn is_discarded(output: &std::fs::File) -> bool {
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::fs::{FileTypeExt, MetadataExt};
        const NULL: u64 = 0x103; // major 1, minor 3
        output.metadata().is_ok_and(|file| file.file_type().is_char_device() && file.rdev() == NULL)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = output;
        false
    }
}

/// Raises the limit of open files as far as the system allows. Warns if it is too low for the configured connections,
/// because then even health checks could fail.
pub(super) fn raise_file_limit(config: &Config) {
    #[cfg(unix)]
    {
        let forwarded = config.endpoints.iter().map(EndpointConfig::most_forwarded).fold(0, usize::saturating_add);
        let store = config.store.value.files();
        let all = [config.limits.connections, OPERATIONS.connections, forwarded, store, OTHER_FILES];
        let needed = all.into_iter().fold(0, usize::saturating_add);
        // If the limit cannot be raised, the current one applies.
        let limit = rlimit::increase_nofile_limit(u64::MAX).or_else(|_| rlimit::Resource::NOFILE.get_soft());
        if let Ok(limit) = limit
            && limit < needed as u64
        {
            tracing::warn!(
                limit,
                needed,
                "the limit of open files is too low for max_connections, max_in_flight and workers; raise it (ulimit -n, \
                 LimitNOFILE=) or lower these keys"
            );
        }
    }
    #[cfg(not(unix))]
    let _ = config;
}

/// Open files of the store, the outputs and the runtime.
const OTHER_FILES: usize = 64;

/// Writes the warnings of the library and of this program to the log, without those of dependencies.
pub(super) fn log_warnings_to(log: Printer) {
    // Fails only if there already is a subscriber, but this process has no other.
    let _ = tracing::subscriber::set_global_default(warnings_to(log));
}

/// Returns the subscriber that writes warnings to the log, and the lines about replaced secrets, the end of a silence,
/// and an application that is reachable again.
pub(super) fn warnings_to(log: Printer) -> impl tracing::Subscriber + Send + Sync {
    struct Log(Printer);
    impl Write for Log {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.try_write(String::from_utf8_lossy(line).into_owned());
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(move || Log(log.clone()));
    let ours = Targets::new().with_target("medhook", LevelFilter::WARN);
    let ours = ours.with_target("medhook::silence", LevelFilter::INFO);
    let ours = ours.with_target("medhook::handshakes", LevelFilter::INFO);
    let ours = ours.with_target("medhook::secrets", LevelFilter::INFO);
    let ours = ours.with_target("medhook::inbox", LevelFilter::INFO);
    let ours = ours.with_target("medhook::page", LevelFilter::INFO);
    tracing_subscriber::registry().with(lines.with_filter(ours))
}

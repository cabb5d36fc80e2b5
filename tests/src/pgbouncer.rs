//! PgBouncer before a PostgreSQL server.

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::servers::{folder, free_port, unprivileged, variable};

/// A connection pooler with a port of its own, stopped when dropped.
pub struct PgBouncer {
    _folder: TempDir,
    child: Child,
    url: String,
}

impl PgBouncer {
    /// Starts PgBouncer with settings `name=value` before the server of a URL. Returns `None` if it is not installed.
    #[must_use]
    pub fn before(url: &str, settings: &[&str]) -> Option<Self> {
        let program = variable("MEDHOOK_TEST_PGBOUNCER");
        if program.is_empty() {
            eprintln!("SKIPPED: PgBouncer is not installed");
            return None;
        }
        // Another process may take the port before PgBouncer does.
        for _ in 0..5 {
            if let Some(started) = Self::start(&program, url, settings) {
                return Some(started);
            }
        }
        panic!("PgBouncer does not start");
    }

    fn start(program: &str, url: &str, settings: &[&str]) -> Option<Self> {
        let (user, place) = url.strip_prefix("postgres://").unwrap().split_once('@').unwrap();
        let (user, password) = user.split_once(':').unwrap();
        let (host, database) = place.split_once('/').unwrap();
        let (host, server) = host.split_once(':').unwrap();
        let (folder, port) = (folder(), free_port());
        let users = folder.path().join("users");
        std::fs::write(&users, format!("\"{user}\" \"{password}\"\n")).unwrap();
        let file = folder.path().join("pgbouncer.ini");
        let mut text = format!(
            "[databases]\n{database} = host={host} port={server}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = plain\nauth_file = {}\n",
            users.display()
        );
        text.extend(settings.iter().flat_map(|setting| [*setting, "\n"]));
        std::fs::write(&file, text).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let mut pooler = Command::new(program);
        pooler.arg(&file).current_dir(folder.path()).stdin(Stdio::null());
        pooler.stdout(log.try_clone().unwrap()).stderr(log);
        let child = unprivileged(&mut pooler).spawn().unwrap();
        let url = format!("postgres://{user}:{password}@127.0.0.1:{port}/{database}");
        let mut started = PgBouncer { _folder: folder, child, url };
        let began = Instant::now();
        while started.child.try_wait().unwrap().is_none() && began.elapsed() < Duration::from_secs(60) {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(started);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }

    /// Returns the URL of the server through the pooler.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

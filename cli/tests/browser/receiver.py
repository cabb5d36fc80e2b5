"""A receiver, as the built program, and the application behind it."""

import http.server
import json
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import threading
import time

# Longer than anything takes. Every wait ends as soon as it can.
PATIENCE = 60

# Occurs in bodies and event ids. No page may have it.
MARK = "canary-of-a-patient"
TOKEN = "q3v7-n0t-t0-be-sh0wn-9f41c2"
SECRETS = {
    "FASTEN_SECRET": "whsec_bm90LXRvLWJlLXNob3duLWZhc3Rlbi0wMDE=",
    "FASTEN_NEXT": "whsec_bm90LXRvLWJlLXNob3duLWZhc3Rlbi0wMDI=",
    "CAIR_SECRET": "not-to-be-shown-cair-6d0a94c2be",
    "MEDIQUO_SECRET": "not-to-be-shown-mediquo-7c1d5e",
    "LAB_SECRET": "not-to-be-shown-lab-52b80f1a6e",
    "INBOX_KEY": "kSgYTfzSAoXrYAhbVL6jHyVLgUzDrzaTMKs05R4BsNM=",
    "PAGE_TOKEN": TOKEN,
}

MEDIQUO = """
[[endpoint]]
path = "/webhooks/mediquo"
name = "mediquo"
provider = "mediquo"
secrets = [{ env = "MEDIQUO_SECRET" }]
inbox = true
retry = { initial_backoff = "1s", max_backoff = "1s", max_attempts = 2 }
forward = "APPLICATION/mediquo"
"""

FASTEN = """
[[endpoint]]
path = "/webhooks/fasten"
name = "fasten"
provider = "fasten"
secrets = [{ env = "FASTEN_SECRET" }, { env = "FASTEN_NEXT" }]
expect_every = "24h"
forward = "APPLICATION/fasten"
"""

# The kind of its events is whatever the sender writes into the body.
LAB = """
[[endpoint]]
path = "/webhooks/lab"
name = "lab"
provider = "custom"
provider_name = "northside-lab"
scheme = "hmac-sha256"
header = "X-Lab-Signature"
id_pointer = "/id"
kind_pointer = "/type"
known_kinds = ["sample.received", "result.ready", "<script>alert(0)</script>"]
secrets = [{ env = "LAB_SECRET" }]
inbox = true
forward = "APPLICATION/lab"
"""


def free_port():
    """Returns a port that nothing listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def until(condition, what):
    """Waits until the condition returns something true, and returns it. `what` describes the failure."""
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"after {PATIENCE} s: {what()}")
        time.sleep(0.02)
    return found


class Application:
    """An application on loopback that can be started and stopped at the same address."""

    def __init__(self, port=None):
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        # The answer to the events of an endpoint: a status, and optionally a code with which they are given up.
        self.answers = {}
        self.received = 0
        self.server = None

    def start(self):
        application = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers["content-length"]))
                application.received += 1
                status, code = application.answers.get(self.headers["medhook-endpoint"], (200, None))
                self.send_response(status)
                if code:
                    self.send_header("medhook-give-up", code)
                self.send_header("content-length", "0")
                # So that no thread waits for the next request when the application is stopped.
                self.send_header("connection", "close")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def stop(self):
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None


class Receiver:
    """A running `medhook receive` in a folder of its own, and the commands that are run beside it."""

    def __init__(self, *endpoints, port=None):
        self.program = pathlib.Path(os.environ["MEDHOOK_PROGRAM"])
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="medhook-browser-"))
        self.application = Application(port)
        # Fixed, so that the page has the same address after a restart.
        self.main, self.operations = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        listen = lambda url: url.removeprefix("http://")
        self.config = self.folder / "medhook.toml"
        # Without an inbox, its key would be a mistake.
        key = 'inbox_key = { env = "INBOX_KEY" }\n' if any("inbox = true" in each for each in endpoints) else ""
        self.config.write_text(
            f'listen = "{listen(self.main)}"\nstore = "sqlite:medhook.db"\n{key}'
            f'drain_delay = "0s"\nshutdown_timeout = "1s"\n'
            f'[operations]\nlisten = "{listen(self.operations)}"\ntoken = {{ env = "PAGE_TOKEN" }}\n'
            + "".join(endpoints).replace("APPLICATION", self.application.url)
        )
        self.process = None

    def start(self):
        self.log = open(self.folder / "log", "a")
        # Before the program starts, since it may write at once.
        seen = (self.folder / "log").stat().st_size
        self.process = subprocess.Popen(
            [self.program, "receive", "--config", self.config.name],
            cwd=self.folder, env=self.environment(), stdin=subprocess.DEVNULL, stdout=open(self.folder / "report", "a"),
            stderr=self.log,
        )
        def listens():
            if self.process.poll() is not None:
                raise AssertionError(f"the receiver ended: {self.logged()}")
            return "listening at http" in self.logged()[seen:]
        until(listens, lambda: f"the receiver does not listen: {self.logged()}")
        return self

    def stop(self):
        """Sends SIGTERM, and waits until the receiver has ended."""
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise
            finally:
                self.log.close()
                self.process = None

    def remove(self):
        self.stop()
        self.application.stop()
        shutil.rmtree(self.folder)

    def logged(self):
        return (self.folder / "log").read_text()

    def environment(self):
        # The built program is the one that a command from the page runs.
        path = f"{self.program.parent}{os.pathsep}{os.environ['PATH']}"
        return os.environ | SECRETS | {"PATH": path}

    def shell(self, command):
        """Runs a command as an operator does in the receiver's folder, and returns its output."""
        done = subprocess.run(["sh", "-ec", command], cwd=self.folder, env=self.environment(), capture_output=True,
                              text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise AssertionError(f"{command}: exit code {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def send(self, endpoint, *arguments, expected=True):
        """Sends a delivery with `medhook send`, and returns the lines that it prints.

        `expected` is whether the answer must be the usual one of a delivery with these arguments."""
        done = subprocess.run(
            [self.program, "send", "--config", self.config.name, "--endpoint", endpoint, *arguments],
            cwd=self.folder, env=self.environment(), capture_output=True, text=True, timeout=PATIENCE,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode != 0 and expected:
            raise AssertionError(f"send {endpoint} {arguments}: {done.stdout}{done.stderr}")
        return done.stdout

    def send_body(self, endpoint, body, **options):
        """Sends these bytes as the body of a delivery."""
        file = self.folder / "body"
        file.write_bytes(body if isinstance(body, bytes) else body.encode())
        return self.send(endpoint, "--body", file.name, **options)

    def listed(self, filters=""):
        """Returns the stored events that the filters of `medhook inbox list` select."""
        return [json.loads(line) for line in self.shell(f"medhook inbox list --json {filters}").splitlines()]

    def ids(self, filters):
        return [event["id"] for event in self.listed(filters)]

    def wait_for(self, count, filters):
        """Waits until the filters select this number of events, and returns their ids."""
        matches = lambda: len(found := self.ids(filters)) == count and (found or [None])
        return until(matches, lambda: f"not {count} of {filters}: {self.listed()} {self.logged()}")

"""A running `medhook receive` with one endpoint, its report and its counters."""

import json
import os
import pathlib
import random
import re
import shutil
import socket
import subprocess
import tempfile
import time

import wire

PATIENCE = 60
PATH = "/webhooks/foreign"
NAME = "foreign"


# Below the ports that systems give to clients, so that no connection takes one before the receiver listens. Shuffled,
# so that two runs at a time choose different ones.
PORTS = iter(random.sample(range(21_000, 32_000), 11_000))


def free_port():
    """Returns a port that nothing listens at, and that no earlier call returned."""
    for port in PORTS:
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise AssertionError("no port is free")


def until(condition, what):
    """Waits until the condition returns something true, and returns it. `what` describes the failure."""
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"after {PATIENCE} s: {what()}")
        time.sleep(0.01)
    return found


def toml(value):
    """Returns a value as TOML has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    # A string of JSON is a string of TOML.
    return json.dumps(value)


def program():
    return pathlib.Path(os.environ["MEDHOOK_PROGRAM"])


class Endpoint:
    """A config file in a folder of its own, for an endpoint with these keys and secrets.

    Further variables, such as the token of a handshake, are passed as `environment`."""

    def __init__(self, options, secrets, environment=None):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="medhook-foreign-"))
        self.port, self.operations = free_port(), free_port()
        names = {f"SECRET_{number}": secret for number, secret in enumerate(secrets, 1)}
        self.environment = os.environ | names | (environment or {})
        keys = {"path": PATH, "name": NAME, "provider": "custom"} | options
        keys["secrets"] = [{"env": name} for name in names]
        lines = [
            f'listen = "127.0.0.1:{self.port}"', 'store = "memory"', 'drain_delay = "0s"', 'shutdown_timeout = "1s"',
            "[operations]", f'listen = "127.0.0.1:{self.operations}"', "[[endpoint]]",
            *(f"{key} = {toml(value)}" for key, value in keys.items()),
        ]
        self.config = self.folder / "medhook.toml"
        self.config.write_text("\n".join(lines) + "\n")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder)

    def run(self, *arguments):
        """Runs a command of `medhook` in the folder, and returns its exit code and what it prints."""
        done = subprocess.run(
            [program(), *arguments], cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE,
        )
        return done.returncode, done.stdout


class Receiver(Endpoint):
    """A running receiver for an endpoint."""

    def __init__(self, options, secrets, environment=None):
        super().__init__(options, secrets, environment)
        self.process, self.log = None, open(self.folder / "log", "wb")
        self.client, self.monitor = wire.Client(self.port), wire.Client(self.operations)
        # Lines of the report that `next_line` has returned.
        self.seen = 0

    def __enter__(self):
        try:
            self.process = subprocess.Popen(
                [program(), "receive", "--config", self.config.name, "--json"], cwd=self.folder, env=self.environment,
                stdin=subprocess.DEVNULL, stdout=open(self.folder / "report", "wb"), stderr=self.log,
            )

            def listens():
                if self.process.poll() is not None:
                    raise AssertionError(f"the receiver does not start:\n{self.logged()}\n{self.config.read_text()}")
                return "listening at http" in self.logged()

            until(listens, lambda: f"the receiver does not listen: {self.logged()}")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.stop()
        self.log.close()
        super().__exit__()

    def stop(self):
        """Ends the receiver, and returns the lines of its report."""
        self.client.close()
        self.monitor.close()
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise
            finally:
                self.process = None
        return self.report()

    def logged(self):
        return (self.folder / "log").read_text()

    def report(self):
        file = self.folder / "report"
        whole = file.read_bytes().rpartition(b"\n")[0] if file.exists() else b""
        return [json.loads(line) for line in whole.splitlines()]

    def next_line(self):
        """Waits for the next line of the report, and returns it."""
        found = until(lambda: self.report()[self.seen:], lambda: f"no further line in the report: {self.logged()}")
        self.seen += 1
        return found[0]

    def post(self, headers, body):
        return self.client.send("POST", PATH, headers, body)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}{PATH}"

    def counted(self):
        """Returns the number of deliveries by their reason, or by their outcome if there is none."""
        text = self.monitor.send("GET", "/metrics", []).body.decode()
        counts = {}
        for labels, value in re.findall(r"^medhook_deliveries_total\{(.*)\} (\d+)", text, re.MULTILINE):
            label = dict(re.findall(r'(\w+)="([^"]*)"', labels))
            cause = label["reason"] or label["outcome"]
            counts[cause] = counts.get(cause, 0) + int(value)
        return counts

"""Chromium, and an operator in it who sees the page of a receiver."""

import os
import pathlib
import re
import time
from urllib.parse import urlsplit

from playwright.sync_api import sync_playwright

from receiver import MARK, PATIENCE, SECRETS, TOKEN

# Names that lead to this machine, as an attacker's does with DNS rebinding.
FOREIGN = "evil.example"

# Never in a page, an asset or the address of a request.
HIDDEN = [MARK, *SECRETS.values()]


class Chromium:
    """The browser, started once for all tests."""

    def __init__(self):
        self.driver = sync_playwright().start()
        self.browser = self.driver.chromium.launch(
            executable_path=os.environ["MEDHOOK_CHROMIUM"],
            # It does not work in containers, and the tests open no pages but their own.
            chromium_sandbox=False,
            args=[f"--host-resolver-rules=MAP {FOREIGN} 127.0.0.1", "--force-device-scale-factor=1"],
        )

    def close(self):
        self.browser.close()
        self.driver.stop()


class Operator:
    """An operator with a browser profile of their own. `check` asserts what must hold in every test.

    The page refreshes `speed` times as often as for others, so that tests do not wait."""

    def __init__(self, chromium, origin, speed=5, **options):
        self.origin, self.speed = origin, speed
        self.context = chromium.browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | options))
        self.context.set_default_timeout(PATIENCE * 1000)
        self.requests, self.problems, self.answers = [], [], []
        # Answers of these statuses are expected; Chromium reports them in the console.
        self.expected_statuses = set()
        # Requests to these origins are part of the test.
        self.other_origins = set()
        self.context.on("request", lambda request: self.requests.append(request))
        self.context.on("response", lambda answer: self.answers.append(answer))
        self.context.on("console", self.console)
        self.context.on("weberror", lambda error: self.problems.append(f"an exception in a script: {error.error}"))
        # Whatever a test does not expect: a script that got into the page could open a dialog.
        self.context.on("dialog", self.dialog)
        # The policy is reported as an event, too, also for what the console does not show.
        self.context.expose_binding("reportViolation", lambda _, text: self.problems.append(f"policy: {text}"))
        self.context.add_init_script(
            "document.addEventListener('securitypolicyviolation',"
            " event => window.reportViolation(event.violatedDirective + ' ' + event.blockedURI))"
        )
        if speed != 1:
            self.context.add_init_script(
                # The time between two refreshes, not the timeout of a request, which is longer.
                "{ const wait = window.setTimeout; window.setTimeout = (run, time, ...more) =>"
                f" wait(run, time <= 5000 ? time / {speed} : time, ...more) }}"
            )
        self.page = self.context.new_page()

    def console(self, message):
        if message.type in ("error", "warning"):
            failed = re.search(r"Failed to load resource: the server responded with a status of (\d+)", message.text)
            if not failed or int(failed[1]) not in self.expected_statuses:
                self.problems.append(f"{message.type} in the console: {message.text}")

    def dialog(self, dialog):
        self.problems.append(f"a dialog: {dialog.message}")
        dialog.dismiss()

    def open(self, path="/"):
        """Opens a page, and returns its answer."""
        return self.page.goto(self.origin + path)

    def log_in(self, path="/"):
        """Opens a page as an operator without a session, and logs in."""
        self.open(path)
        self.page.get_by_label("Token").fill(TOKEN)
        self.page.get_by_role("button", name="Log in").click()
        self.page.wait_for_url(self.origin + path)
        return self

    def text(self, selector="main"):
        return self.page.locator(selector).inner_text()

    def polls(self):
        """Returns the number of refreshes so far, by the script of the page."""
        return sum(request.resource_type == "fetch" for request in self.requests)

    def refreshed(self):
        """Waits until the script has refreshed the page."""
        before, end = self.polls(), time.monotonic() + PATIENCE
        while self.polls() == before:
            assert time.monotonic() < end, "the page does not refresh"
            self.page.wait_for_timeout(20)

    def interval(self):
        """Returns the seconds between two refreshes, from the script."""
        script = self.context.request.get(f"{self.origin}/assets/page.js").text()
        return int(re.search(r"INTERVAL = (\d+)", script)[1]) / 1000 / self.speed

    def refreshes_in(self, seconds):
        before = self.polls()
        self.page.wait_for_timeout(1000 * seconds)
        return self.polls() - before

    def ignore(self, text):
        """Takes the problems with this text, of which there must be one, for expected."""
        left = [problem for problem in self.problems if text not in problem]
        assert len(left) < len(self.problems), f"{text} is missing: {self.problems}"
        self.problems = left

    def check(self):
        """Asserts that nothing left the origin, the policy had nothing to block, and nothing was disclosed."""
        allowed = {self.origin} | self.other_origins
        for request in self.requests:
            parts = urlsplit(request.url)
            assert f"{parts.scheme}://{parts.netloc}" in allowed or parts.scheme == "data", f"left: {request.url}"
            disclosed = [hidden for hidden in HIDDEN if hidden in request.url]
            assert not disclosed, f"{disclosed} in {request.url}"
        assert self.requests, "nothing was requested"
        assert not (found := disclosed_in({page.url: page.content() for page in self.context.pages})), found
        assert not self.problems, self.problems
        for answer in self.answers:
            if answer.status in range(300, 400) or not answer.url.startswith(self.origin):
                continue
            headers = answer.all_headers()
            policy = headers.get("content-security-policy", "")
            assert "default-src 'none'" in policy, f"{answer.url} has the policy {policy!r}"
            assert "unsafe" not in policy, f"{answer.url} has the policy {policy!r}"

    def close(self):
        self.context.close()


def disclosed_in(pages):
    """Returns which hidden texts are in which of these pages, a mapping from an address to the HTML."""
    return [(address, hidden) for address, html in pages.items() for hidden in HIDDEN if hidden in html]


def axe():
    """Returns the source of axe-core, from the wheel that has it."""
    import axe_playwright_python

    return (pathlib.Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()

"""What the tests share: the browser, and receivers and operators that are removed at the end of a test."""

import contextlib
import unittest

from playwright.sync_api import expect

from operator_page import Chromium, Operator
from receiver import PATIENCE, Receiver
from scene import Scene

expect.set_options(timeout=PATIENCE * 1000)
chromium, scene = None, None


@contextlib.contextmanager
def browser():
    """Starts Chromium for all tests."""
    global chromium, scene
    chromium = Chromium()
    try:
        yield
    finally:
        chromium.close()
        if scene:
            scene.remove()
            scene = None


def shared_scene():
    """Returns the receiver with something of everything, for tests that change nothing."""
    global scene
    if not scene:
        scene = Scene()
    return scene


class Case(unittest.TestCase):
    """A test with receivers and operators of its own."""

    def receiver(self, *endpoints, **options):
        """Starts a receiver. Its application is not running."""
        receiver = Receiver(*endpoints, **options)
        self.addCleanup(receiver.remove)
        return receiver.start()

    def visitor(self, receiver, **options):
        """Returns an operator who has not logged in. At the end, asserts what must hold in every test."""
        operator = Operator(chromium, receiver.operations, **options)
        self.addCleanup(operator.close)
        self.addCleanup(operator.check)
        return operator

    def operator(self, receiver, path="/", **options):
        """Returns an operator who has logged in."""
        return self.visitor(receiver, **options).log_in(path)

"""Runs the tests of the operator's page in Chromium: scripts/browser describes the arguments."""

import pathlib
import re
import subprocess
import sys
import time
import unittest

folder = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(folder))

import case


class Result(unittest.TextTestResult):
    """Prints a line for each test with its time."""

    passed, failed = 0, set()

    def startTest(self, test):
        unittest.TestResult.startTest(self, test)
        self.began = time.monotonic()

    def line(self, test, word):
        module, name = test.id().split(".")[0], test.id().split(".")[-1]
        seconds = time.monotonic() - self.began
        self.stream.writeln(f"{word:4} {seconds:6.2f} s  {module}: {name.removeprefix('test_').replace('_', ' ')}")
        self.stream.flush()

    def addSuccess(self, test):
        unittest.TestResult.addSuccess(self, test)
        self.passed += 1
        self.line(test, "ok")

    def addFailure(self, test, error):
        unittest.TestResult.addFailure(self, test, error)
        self.fail(test)

    def addError(self, test, error):
        unittest.TestResult.addError(self, test, error)
        self.fail(test)

    def fail(self, test):
        # A test and its cleanup can both fail.
        if test.id() not in self.failed:
            self.failed.add(test.id())
            self.line(test, "FAIL")


def cases(suite):
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from cases(item)
        else:
            yield item


def run(chosen):
    """Runs tests in this process, and returns the number of those that passed and that failed."""
    with case.browser():
        result = unittest.TextTestRunner(sys.stdout, resultclass=Result, verbosity=0).run(unittest.TestSuite(chosen))
    return result.passed, len(result.failed)


def run_beside(modules):
    """Runs each module in a process of its own, since most of the time the tests wait."""
    command = [sys.executable, __file__, "--module"]
    started = [subprocess.Popen([*command, name], stdout=subprocess.PIPE, text=True) for name in modules]
    passed = failed = 0
    for process in started:
        output, _ = process.communicate()
        *lines, last = output.splitlines()
        print("\n".join(lines), flush=True)
        counts = re.fullmatch(r"(\d+) (\d+)", last)
        if not counts:
            print(last)
        passed, failed = passed + int(counts[1] if counts else 0), failed + int(counts[2] if counts else 1)
    return passed, failed


def main(arguments):
    if "--screenshots" in arguments:
        import screenshots

        with case.browser():
            screenshots.take(folder.parents[2] / "docs" / "images")
        return 0
    found = list(cases(unittest.TestLoader().discover(str(folder), "test_*.py")))
    if arguments[:1] == ["--module"]:
        print(*run([test for test in found if test.id().split(".")[0] == arguments[1]]))
        return 0
    began = time.monotonic()
    if arguments:
        passed, failed = run([test for test in found if any(word in test.id() for word in arguments)])
    else:
        # The longest one first.
        passed, failed = run_beside(sorted({test.id().split(".")[0] for test in found}, reverse=True))
    print(f"\n{passed} passed, {failed} failed in {time.monotonic() - began:.0f} s")
    if passed + failed == 0:
        print(f"scripts/browser: no test matches {' '.join(arguments)}", file=sys.stderr)
    return 0 if passed and not failed else 1


sys.exit(main(sys.argv[1:]))

"""Runs the tests with deliveries signed by software of others: scripts/foreign-signers describes the arguments."""

import pathlib
import sys
import time
import unittest

folder = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(folder))


class Result(unittest.TextTestResult):
    """Prints a line for each test with its time."""

    passed = 0

    def startTest(self, test):
        unittest.TestResult.startTest(self, test)
        self.began = time.monotonic()

    def line(self, test, word):
        module, name = test.id().split(".")[0].removeprefix("test_"), test.id().split(".")[-1].removeprefix("test_")
        seconds, detail = time.monotonic() - self.began, getattr(test, "result_line", "")
        self.stream.writeln(f"{word:4} {seconds:6.2f} s  {module}: {name.replace('_', ' ')}  {detail}".rstrip())
        self.stream.flush()

    def addSuccess(self, test):
        unittest.TestResult.addSuccess(self, test)
        self.passed += 1
        self.line(test, "ok")

    def addFailure(self, test, error):
        unittest.TestResult.addFailure(self, test, error)
        self.line(test, "FAIL")

    def addError(self, test, error):
        unittest.TestResult.addError(self, test, error)
        self.line(test, "FAIL")


def cases(suite):
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from cases(item)
        else:
            yield item


def main(arguments):
    found = cases(unittest.TestLoader().discover(str(folder), "test_*.py"))
    chosen = [test for test in found if not arguments or any(word in test.id() for word in arguments)]
    began = time.monotonic()
    result = unittest.TextTestRunner(sys.stdout, resultclass=Result, verbosity=0).run(unittest.TestSuite(chosen))
    failed = len(result.failures) + len(result.errors)
    print(f"\n{result.passed} passed, {failed} failed in {time.monotonic() - began:.0f} s")
    if not chosen:
        print(f"scripts/foreign-signers: no test matches {' '.join(arguments)}", file=sys.stderr)
    return 0 if result.passed and not failed else 1


sys.exit(main(sys.argv[1:]))

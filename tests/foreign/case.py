"""What the tests of all families have in common."""

import collections
import time
import unittest

import families
import receiver


def named(options):
    """Returns a name for a test from words."""
    return "".join(letter if letter.isalnum() else "_" for letter in options)


def for_each_family(test):
    """Creates a class with a test for each family."""
    tests = {}
    for family in families.FAMILIES:
        tests[f"test_{named(family.name)}"] = lambda self, family=family: test(self, family)
    return type(test.__name__.title(), (unittest.TestCase,), tests | {"__module__": test.__module__})


def summed(report):
    """Returns the number of deliveries in the report by their reason, or by their outcome if there is none."""
    counts = collections.Counter()
    for line in report:
        counts[line["reason"] or line["outcome"]] += line.get("count", 1)
    return dict(counts)


def started(family):
    return receiver.Receiver(family.keys(), family.secrets)


def now():
    return int(time.time())

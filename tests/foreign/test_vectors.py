"""The deliveries of tests/oracles/vectors.toml, and the reason that the model of the schemes expects. Rust reads the same file."""

import json
import pathlib
import re
import subprocess
import tomllib
import unittest

import model
import receiver

FILE = pathlib.Path(__file__).resolve().parents[1] / "oracles" / "vectors.toml"
VECTORS = tomllib.loads(FILE.read_text())


def verified(vector):
    headers = [(name.encode(), value.encode()) for name, value in vector["headers"]]
    return model.verify(vector["options"], vector["secrets"], headers, vector["body"].encode(), vector["now"])


def altered(alteration):
    """Returns the vector that differs from another one in one thing."""
    vector = next(each for each in VECTORS["vector"] if each["name"] == alteration["of"])
    changes = {key: alteration[key] for key in alteration if key not in ("of", "change", "expected")}
    headers = [list(header) for header in vector["headers"]]
    for header in headers:
        for field in ("header", "rename"):
            if field in changes and changes[field][0] == header[0]:
                header[field == "header"] = changes.pop(field)[1]
                break
    headers = [header for header in headers if header[0] != changes.get("remove")]
    changes.pop("remove", None)
    assert not {"header", "rename"} & changes.keys(), f"{alteration['of']}: no such header: {changes}"
    changed = vector | {"headers": headers} | changes
    assert changed != vector, f"{alteration['of']}: {alteration['change']}: nothing differs"
    return changed


class Vectors(unittest.TestCase):
    def test_vectors_are_accepted(self):
        self.assertEqual(len({vector["name"] for vector in VECTORS["vector"]}), len(VECTORS["vector"]))
        for vector in VECTORS["vector"]:
            with self.subTest(vector["name"]):
                self.assertEqual(verified(vector), model.ACCEPTED)

    def test_alterations_have_the_expected_reason(self):
        for alteration in VECTORS["altered"]:
            with self.subTest(f"{alteration['of']}: {alteration['change']}"):
                self.assertIn(alteration["expected"], verified(altered(alteration)))

    def test_transcripts_print_the_signature(self):
        for vector in VECTORS["vector"]:
            if not (command := re.fullmatch("transcript: (.*)", vector["source"])):
                continue
            with self.subTest(vector["name"]):
                printed = subprocess.run(["sh", "-ec", command[1]], capture_output=True, check=True, text=True).stdout
                self.assertIn(printed, "\n".join(value for _, value in vector["headers"]))
                self.assertGreater(len(printed), 40)

    def test_medhook_verify_agrees(self):
        for vector in VECTORS["vector"]:
            with self.subTest(vector["name"]):
                self.assertEqual(reported(vector), "accepted")
        for alteration in VECTORS["altered"]:
            with self.subTest(f"{alteration['of']}: {alteration['change']}"):
                self.assertEqual(reported(altered(alteration)), expected_of_verify(alteration))


def expected_of_verify(alteration):
    """Returns the expected reason. `verify` checks a time after its signature, which an altered time does not fit."""
    is_time = alteration["expected"] in ("in_the_future", "stale")
    return "signature_mismatch" if is_time and "header" in alteration else alteration["expected"]


def reported(vector):
    """Returns the reason that `medhook verify` reports, or "accepted"."""
    with receiver.Endpoint(vector["options"], vector["secrets"]) as endpoint:
        # A file without headers is a mistake of its own.
        headers = [("host", "127.0.0.1"), *vector["headers"]]
        (endpoint.folder / "head").write_text("".join(f"{name}: {value}\n" for name, value in headers))
        (endpoint.folder / "body").write_text(vector["body"])
        code, printed = endpoint.run("verify", "--config", "medhook.toml", "--endpoint", receiver.NAME, "--headers",
                                     "head", "--body", "body", "--at", str(vector["now"]), "--json")
        if code not in (0, 1):
            return printed
        reported = json.loads(printed)
        if reported["verified"]:
            return "accepted"
        return next(step["reason"] for step in reported["steps"] if step["result"] == "failed")

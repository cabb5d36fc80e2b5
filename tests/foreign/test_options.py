"""CloudEvents by the package `cloudevents`, ids and kinds from headers, and families of names."""

import unittest

from cloudevents.core.bindings import http as binding
from cloudevents.core.v1.event import CloudEvent

import case
import families
import receiver

PARTICLE = {"scheme": "timestamped-hmac", "header": "x-ph-signature-256", "timestamp_element": "t",
            "signature_element": "", "signed": "{timestamp}.{body}", "encoding": "either"}


def event(message="e-1", source="api/notifications", data=1):
    return CloudEvent({"id": message, "source": source, "type": "sample.ready", "specversion": "1.0",
                       "datacontenttype": "application/json"}, {"count": data})


class Options(unittest.TestCase):
    def sent(self, running, message):
        """Signs a message of `cloudevents`, sends it, and returns the line about it."""
        [signature] = families.elements(b"x-ph-signature-256", b"", families.TEXT)(message.body, case.now())
        headers = [(name.encode(), value.encode()) for name, value in message.headers.items()]
        answer = running.post([*headers, signature], message.body)
        self.assertEqual(answer.status, 200, running.logged())
        return running.next_line()

    def test_cloud_events_in_structured_mode(self):
        with receiver.Receiver(PARTICLE | {"cloud_events": "structured", "known_kinds": ["sample.ready"]},
                               [families.TEXT]) as running:
            line = self.sent(running, binding.to_structured_event(event()))
            shown = {key: line[key] for key in ("outcome", "kind", "unknown", "id_from")}
            self.assertEqual(shown, {"outcome": "handled", "kind": "sample.ready", "unknown": False, "id_from": "body"})
            # The source and the id make the event, whatever else the body has.
            self.assertEqual(self.sent(running, binding.to_structured_event(event(data=2)))["outcome"], "duplicate")
            for other in (event("e-2"), event(source="api/other")):
                self.assertEqual(self.sent(running, binding.to_structured_event(other))["outcome"], "handled")

    def test_cloud_events_in_binary_mode(self):
        with receiver.Receiver(PARTICLE | {"cloud_events": "binary-unsigned", "known_kinds": ["sample.ready"]},
                               [families.TEXT]) as running:
            line = self.sent(running, binding.to_binary_event(event()))
            self.assertEqual((line["outcome"], line["kind"], line["unknown"]), ("handled", "sample.ready", False))
            self.assertEqual(self.sent(running, binding.to_binary_event(event()))["outcome"], "duplicate")
            # An unsigned id alone makes no event a duplicate.
            self.assertEqual(self.sent(running, binding.to_binary_event(event(data=2)))["outcome"], "handled")
            self.assertEqual(self.sent(running, binding.to_binary_event(event("e-2")))["outcome"], "handled")

    def test_id_and_kind_in_unsigned_headers(self):
        options = {"scheme": "timestamped-hmac", "preset": "terra", "unsigned_id_header": "x-terra-trace-id",
                   "unsigned_kind_header": "x-kind", "known_kinds": ["auth"]}
        with receiver.Receiver(options, [families.TEXT]) as running:
            def sent(trace, body):
                headers = families.elements(b"terra-signature", b"v1=", families.TEXT)(body, case.now())
                running.post([*headers, (b"x-terra-trace-id", trace), (b"x-kind", b"auth")], body)
                return running.next_line()

            line = sent(b"t-1", b"{}")
            self.assertEqual((line["outcome"], line["kind"], line["unknown"]), ("handled", "auth", False))
            self.assertEqual(sent(b"t-1", b"{}")["outcome"], "duplicate")
            self.assertEqual(sent(b"t-2", b"{}")["outcome"], "handled")
            self.assertEqual(sent(b"t-1", b"[]")["outcome"], "handled")

    def test_an_endpoint_ignores_the_other_family_of_names(self):
        [svix] = [family for family in families.FAMILIES if family.name == "svix"]
        with case.started(svix) as running:
            headers = svix.sign(svix.body, case.now())
            other = [(name.replace(b"svix-", b"webhook-"), value) for name, value in headers]
            # Alone, in part, and with a wrong value beside the genuine ones.
            self.assertEqual(running.post(other, svix.body).status, 401)
            for number in range(3):
                mixed = [other[number] if number == at else header for at, header in enumerate(headers)]
                self.assertEqual(running.post(mixed, svix.body).status, 401)
            wrong = [(name, b"1" + value) for name, value in other]
            self.assertEqual(running.post(headers + wrong, svix.body).status, 200)
            self.assertEqual(running.counted(), {"missing_header": 4, "handled": 1})

    def test_the_old_secret_verifies_while_it_is_listed(self):
        for name in ("stripe", "slack_sdk", "svix", "hex", "bearer"):
            [family] = [family for family in families.FAMILIES if family.name == name]
            new = families.OLD_STANDARD if name == "svix" else families.OLD_TEXT
            with receiver.Receiver(family.keys(), [new, *family.secrets]) as running:
                self.assertEqual(running.post(family.sign(family.body, case.now()), family.body).status, 200)
                line = running.next_line()
                self.assertEqual((line["outcome"], line["secret"]), ("handled", "SECRET_2"), name)
            with receiver.Receiver(family.keys(), [new]) as running:
                self.assertEqual(running.post(family.sign(family.body, case.now()), family.body).status, 401, name)
                self.assertEqual(running.counted(), {"signature_mismatch": 1}, name)

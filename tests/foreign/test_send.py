"""What `medhook send` signs, verified by the SDKs of others, and with `openssl` where no SDK verifies."""

import base64
import time
import unittest

import slack_sdk.signature
import standardwebhooks
import stripe
import svix.webhooks
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import case
import families
import model
import receiver
import sink

WHSK = "whsk_" + base64.b64encode(
    families.KEY.private.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())).decode()


def lowered(headers):
    return {name.lower(): value for name, value in headers.items()}


def by_svix(headers, body):
    svix.webhooks.Webhook(families.STANDARD).verify(body, headers)


def by_standardwebhooks(headers, body):
    standardwebhooks.Webhook(families.STANDARD).verify(body, headers)


def by_standardwebhooks_as_text(headers, body):
    standardwebhooks.Webhook(families.RAW_TEXT.encode()).verify(body, headers)


def by_stripe(headers, body):
    stripe.Webhook.construct_event(body, lowered(headers)["stripe-signature"], families.TEXT)


def by_slack(headers, body):
    if not slack_sdk.signature.SignatureVerifier(families.TEXT).is_valid_request(body, headers):
        raise ValueError("not valid")


def by_cryptography(headers, body):
    headers = lowered(headers)
    versions = dict(entry.split(",") for entry in headers["webhook-signature"].split(" "))
    signed = b".".join((headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body))
    families.KEY.private.public_key().verify(base64.b64decode(versions["v1a"]), signed)


def by_cryptography_in_a_plain_header(headers, body):
    families.KEY.private.public_key().verify(base64.b64decode(lowered(headers)["x-signature"]), body)


REJECTED = (svix.webhooks.WebhookVerificationError, standardwebhooks.WebhookVerificationError,
            stripe.SignatureVerificationError, InvalidSignature, ValueError)


class Send(unittest.TestCase):
    def verified(self, name, verify, secrets=None):
        """The software of others accepts what is sent, and rejects a delivery that is sent with a flaw."""
        family = next(family for family in families.FAMILIES if family.name == name)
        with receiver.Endpoint(family.keys(), secrets or family.secrets) as endpoint, sink.Sink() as received:
            send = ["send", "--config", "medhook.toml", "--endpoint", receiver.NAME, "--to", received.url]
            code, printed = endpoint.run(*send)
            self.assertEqual(code, 0, printed)
            verify(received.headers, received.body)
            genuine = received.body
            for flaw in ("--tamper", "--wrong-secret"):
                # The sink answers 200, so the exit code is that of an unexpected answer.
                code, printed = endpoint.run(*send, flaw)
                self.assertEqual(code, 1, printed)
                with self.assertRaises(REJECTED, msg=flaw):
                    verify(received.headers, received.body)
            self.assertNotEqual(genuine, b"")

    def test_svix(self):
        self.verified("svix", by_svix)

    def test_standardwebhooks(self):
        self.verified("standardwebhooks", by_standardwebhooks)

    def test_standardwebhooks_secret_as_text(self):
        self.verified("standardwebhooks, secret as text", by_standardwebhooks_as_text)

    def test_stripe(self):
        self.verified("stripe", by_stripe)

    def test_slack_sdk(self):
        self.verified("slack_sdk", by_slack)

    def test_ed25519_with_a_private_key(self):
        self.sent_with_private_key(by_cryptography, "--scheme", "standard-webhooks")

    def test_ed25519_in_a_plain_header_with_a_private_key(self):
        self.sent_with_private_key(by_cryptography_in_a_plain_header, "--scheme", "ed25519", "--header", "X-Signature",
                                   "--encoding", "base64")

    def sent_with_private_key(self, verify, *options):
        with receiver.Endpoint({}, [WHSK]) as endpoint, sink.Sink() as received:
            send = ["send", "custom", "--to", received.url, "--secret-env", "SECRET_1", *options]
            code, printed = endpoint.run(*send)
            self.assertEqual(code, 0, printed)
            verify(received.headers, received.body)
            code, printed = endpoint.run(*send, "--tamper")
            self.assertEqual(code, 1, printed)
            with self.assertRaises(REJECTED):
                verify(received.headers, received.body)


def sent(self, family):
    """The model, which uses Python's `hmac`, accepts what is sent for every family."""
    with receiver.Endpoint(family.keys(), family.secrets) as endpoint, sink.Sink() as received:
        code, printed = endpoint.run("send", "--config", "medhook.toml", "--endpoint", receiver.NAME, "--to",
                                     received.url)
        if family.secrets == [families.PUBLIC]:
            # A public key signs nothing.
            self.assertEqual(code, 2, printed)
            self.assertRegex(printed, "whsk_|private key")
            return
        self.assertEqual(code, 0, printed)
        headers = [(name.encode(), value.encode()) for name, value in received.headers.items()]
        verdict = model.verify(family.options, family.secrets, headers, received.body, time.time())
        self.assertEqual(verdict, model.ACCEPTED, received.headers)


Sent = case.for_each_family(sent)

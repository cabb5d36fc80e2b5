"""Signing with software of others: SDKs from PyPI, and `openssl`."""

import base64
import datetime
import subprocess

import slack_sdk.signature
import standardwebhooks
import stripe
import svix.webhooks
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def utc(now):
    return datetime.datetime.fromtimestamp(now, datetime.timezone.utc)


def svix_signature(secret, message, now, body):
    return svix.webhooks.Webhook(secret).sign(message, utc(now), body.decode()).encode()


def standard_signature(secret, message, now, body):
    return standardwebhooks.Webhook(secret).sign(message, utc(now), body.decode()).encode()


def stripe_header(secret, now, body):
    return stripe.WebhookSignature.generate_signature_header(body.decode(), secret, int(now)).encode()


def slack_signature(secret, timestamp, body):
    verifier = slack_sdk.signature.SignatureVerifier(secret)
    return verifier.generate_signature(timestamp=timestamp.decode(), body=body).encode()


class Ed25519:
    """A key pair of the package `cryptography`."""

    def __init__(self, seed):
        self.private = Ed25519PrivateKey.from_private_bytes(seed)
        public = self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.public = base64.b64encode(public).decode()

    def sign(self, message):
        return self.private.sign(message)


def openssl(*arguments, stdin=b""):
    return subprocess.run(["openssl", *arguments], input=stdin, capture_output=True, check=True).stdout


def openssl_mac(secret, message, digest="sha256"):
    """Returns the bytes of `openssl dgst -sha256 -hmac SECRET -binary`."""
    return openssl("dgst", f"-{digest}", "-hmac", secret, "-binary", stdin=message)


def openssl_hex(secret, message, digest="sha256"):
    # Printed as `SHA2-256(stdin)= 0123..`.
    return openssl("dgst", f"-{digest}", "-hmac", secret, stdin=message).split()[-1]


def openssl_base64(value):
    return openssl("base64", "-A", stdin=value)


def base64url(value):
    # `openssl base64 -A | tr '+/' '-_'`
    return openssl_base64(value).translate(bytes.maketrans(b"+/", b"-_"))

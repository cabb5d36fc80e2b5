"""The families of schemes: the keys of an endpoint, and who signs its deliveries."""

import base64
import dataclasses
import datetime
import typing

import requests

import signers

# Short, since each bit of it is flipped.
BODY = b'{"id":"e-1","type":"t"}'
POINTERS = {"id_pointer": "/id", "kind_pointer": "/type"}

STANDARD = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD_STANDARD = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
TEXT = "made-up-signing-secret-0001"
OLD_TEXT = "made-up-signing-secret-0002"
RAW_TEXT = "a text that is not base64 at all"
HEX_SECRET = "6d61646520757020696e206865786164"
KEY = signers.Ed25519(bytes(range(32)))
OTHER_KEY = signers.Ed25519(bytes(range(1, 33)))
PUBLIC = f"whpk_{KEY.public}"


@dataclasses.dataclass
class Family:
    name: str
    options: dict
    secrets: list
    # Returns the headers for a body and a time in seconds.
    sign: typing.Callable
    body: bytes = BODY
    # The parts of the values whose bits are flipped, for a list of which only one signature is verified.
    flipped: typing.Callable = lambda name, value: [(0, len(value))]
    # How the event is identified: the field `id_from` of the report.
    id_from: str = "body"
    pointers: bool = True
    # Whether the signature covers the body.
    covers_body: bool = True

    def keys(self):
        return self.options | (POINTERS if self.pointers else {})


def standard(prefix, sign, message=b"msg_1"):
    def headers(body, now):
        name = prefix.encode()
        return [(name + b"id", message), (name + b"timestamp", b"%d" % now),
                (name + b"signature", sign(message, now, body))]

    return headers


def ed25519_v1a(message, now, body, key=KEY):
    signed = b".".join((message, b"%d" % now, body))
    return b"v1a," + base64.b64encode(key.sign(signed))


def mixed(message, now, body):
    """A signature of each kind, of which an endpoint has the key of one, and one of a version to come."""
    mac = signers.standard_signature(STANDARD, message.decode(), now, body)
    return b" ".join((ed25519_v1a(message, now, body, OTHER_KEY), mac, ed25519_v1a(message, now, body), b"v2,AAAA"))


def entry(prefix, number):
    """Returns where the entry of a list is that has this number among those that begin with the prefix."""
    def flipped(name, value):
        if not name.endswith(b"signature"):
            return [(0, len(value))]
        begins = [at for at in range(len(value)) if value.startswith(prefix, at)]
        begin = [at for at in begins if at == 0 or value[at - 1] in b" ,"][number]
        ends = [at for at in (value.find(b" ", begin), value.find(b",", begin + len(prefix))) if at > 0]
        return [(begin, min(ends, default=len(value)))]

    return flipped


def text(secret, message, now, body):
    return signers.standard_signature(secret.encode(), message.decode(), now, body)


def decode(sign, secret):
    return lambda message, now, body: sign(secret, message.decode(), now, body)


def body_mac(header, form):
    return lambda body, _now: [(header, form(body))]


def timestamped(header, timestamp_header, unit, form, signed=lambda timestamp, body: timestamp + b"." + body):
    def headers(body, now):
        timestamp = unit(now)
        return [(header, form(signed(timestamp, body))), (timestamp_header, timestamp)]

    return headers


def seconds(now):
    return b"%d" % now


def milliseconds(now):
    return b"%d" % (now * 1000 + 123)


def rfc_3339(now):
    moment = datetime.datetime.fromtimestamp(now, datetime.timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.123Z").encode()


def elements(header, name, secret):
    def headers(body, now):
        mac = signers.openssl_hex(secret, b"%d." % now + body)
        return [(header, b"t=%d,%s%s" % (now, name, mac))]

    return headers


def with_id(body, now):
    message, timestamp = b"m-1", seconds(now)
    mac = signers.openssl_hex(TEXT, b"v1:" + message + b":" + timestamp + b":" + body)
    return [(b"x-signature", mac), (b"x-timestamp", timestamp), (b"x-id", message)]


def rotating_stripe(body, now):
    old, new = (signers.stripe_header(secret, now, body) for secret in (OLD_TEXT, TEXT))
    return [(b"stripe-signature", old + b"," + new.split(b",")[1])]


def authorization(authenticate):
    """Returns the headers with which `requests` authenticates."""
    def headers(body, _now):
        prepared = authenticate(requests.Request("POST", "http://127.0.0.1/", data=body)).prepare()
        return [(b"authorization", prepared.headers["authorization"].encode())]

    return headers


def basic(request):
    request.auth = ("medhook", TEXT)
    return request


def bearer(request):
    request.headers["Authorization"] = f"Bearer {TEXT}"
    return request


def hex_mac(body):
    return signers.openssl_hex(TEXT, body)


def base64_mac(body):
    return signers.openssl_base64(signers.openssl_mac(TEXT, body))


def sha_256(**keys):
    return {"scheme": "hmac-sha256", "header": "x-signature"} | keys


def times(**keys):
    return {"scheme": "timestamped-hmac", "header": "x-signature", "timestamp_header": "x-timestamp"} | keys


def webhooks(**keys):
    return {"scheme": "standard-webhooks"} | keys


STRIPE = {"scheme": "timestamped-hmac", "header": "stripe-signature", "timestamp_element": "t",
          "signature_element": "v1", "signed": "{timestamp}.{body}", "encoding": "hex"}
SLACK = {"scheme": "timestamped-hmac", "header": "x-slack-signature", "timestamp_header": "x-slack-request-timestamp",
         "signed": "v0:{timestamp}:{body}", "prefix": "v0=", "encoding": "hex"}
X_SIGNATURE, X_TIMESTAMP = b"x-signature", b"x-timestamp"

FAMILIES = [
    # Signed by SDKs.
    Family("svix", webhooks(header_prefix="svix-"), [STANDARD],
           standard("svix-", decode(signers.svix_signature, STANDARD)), id_from="header", pointers=False),
    Family("standardwebhooks", webhooks(), [STANDARD],
           standard("webhook-", decode(signers.standard_signature, STANDARD)), id_from="header", pointers=False),
    Family("standardwebhooks, secret as text", webhooks(secret_encoding="text"), [RAW_TEXT],
           standard("webhook-", lambda *parts: text(RAW_TEXT, *parts))),
    Family("stripe", STRIPE, [TEXT],
           lambda body, now: [(b"stripe-signature", signers.stripe_header(TEXT, now, body))]),
    Family("stripe while the secret is rotated", STRIPE, [TEXT], rotating_stripe,
           flipped=lambda name, value: [(0, value.index(b",v1")), (value.rindex(b",v1"), len(value))]),
    Family("slack_sdk", SLACK, [TEXT],
           lambda body, now: [(b"x-slack-signature", signers.slack_signature(TEXT, seconds(now), body)),
                              (b"x-slack-request-timestamp", seconds(now))]),
    # Ed25519 by `cryptography`.
    Family("ed25519 in a plain header", {"scheme": "ed25519", "header": "x-signature", "encoding": "base64"}, [PUBLIC],
           lambda body, _now: [(X_SIGNATURE, base64.b64encode(KEY.sign(body)))]),
    Family("ed25519 in hex", {"scheme": "ed25519", "header": "x-signature", "encoding": "hex", "prefix": "ed25519="},
           [PUBLIC], lambda body, _now: [(X_SIGNATURE, b"ed25519=" + KEY.sign(body).hex().encode())]),
    Family("v1a", webhooks(), [PUBLIC], standard("webhook-", ed25519_v1a)),
    Family("v1a in a mixed list", webhooks(), [PUBLIC], standard("webhook-", mixed), flipped=entry(b"v1a,", 1)),
    Family("v1 in a mixed list", webhooks(header_prefix="svix-"), [STANDARD], standard("svix-", mixed),
           flipped=entry(b"v1,", 0)),
    # MACs by `openssl dgst`.
    Family("hex", sha_256(encoding="hex", prefix="sha256="), [TEXT],
           body_mac(X_SIGNATURE, lambda body: b"sha256=" + hex_mac(body))),
    Family("base64", sha_256(encoding="base64"), [TEXT], body_mac(X_SIGNATURE, base64_mac)),
    Family("base64url", sha_256(encoding="base64url"), [TEXT],
           body_mac(X_SIGNATURE, lambda body: signers.base64url(signers.openssl_mac(TEXT, body)))),
    Family("base64url without padding", sha_256(encoding="base64url"), [TEXT],
           body_mac(X_SIGNATURE, lambda body: signers.base64url(signers.openssl_mac(TEXT, body)).rstrip(b"="))),
    Family("secret in hex", sha_256(encoding="hex", secret_encoding="hex"), [HEX_SECRET],
           body_mac(X_SIGNATURE, lambda body: signers.openssl_hex(bytes.fromhex(HEX_SECRET), body))),
    Family("several MACs in one header", sha_256(encoding="hex", prefix="sha256=", separator=","), [TEXT],
           body_mac(X_SIGNATURE, lambda body: b",".join(
               b"sha256=" + signers.openssl_hex(secret, body) for secret in (OLD_TEXT, TEXT))),
           flipped=entry(b"sha256=", 1)),
    Family("sha-512 in hex", {"scheme": "hmac-sha512", "header": "x-signature", "encoding": "hex"}, [TEXT],
           body_mac(X_SIGNATURE, lambda body: signers.openssl_hex(TEXT, body, "sha512"))),
    Family("sha-512 in base64", {"scheme": "hmac-sha512", "header": "x-signature", "encoding": "base64"}, [TEXT],
           body_mac(X_SIGNATURE, lambda body: signers.openssl_base64(signers.openssl_mac(TEXT, body, "sha512")))),
    # Times by `openssl dgst`.
    Family("milliseconds", times(timestamp_unit="milliseconds", encoding="hex"), [TEXT],
           timestamped(X_SIGNATURE, X_TIMESTAMP, milliseconds, hex_mac)),
    Family("RFC 3339", times(timestamp_unit="rfc-3339", encoding="base64"), [TEXT],
           timestamped(X_SIGNATURE, X_TIMESTAMP, rfc_3339, base64_mac)),
    Family("base64 of the body", times(signed="{timestamp}.{body_base64}", encoding="hex"), [TEXT],
           timestamped(X_SIGNATURE, X_TIMESTAMP, seconds, hex_mac,
                       lambda timestamp, body: timestamp + b"." + signers.openssl_base64(body))),
    Family("sha-512 of time and body", times(hash="sha-512", encoding="hex"), [TEXT],
           timestamped(X_SIGNATURE, X_TIMESTAMP, seconds, lambda signed: signers.openssl_hex(TEXT, signed, "sha512"))),
    Family("id in a header", times(id_header="x-id", signed="v1:{id}:{timestamp}:{body}", encoding="hex"), [TEXT],
           with_id, id_from="header", pointers=False),
    Family("bare element", {"scheme": "timestamped-hmac", "header": "x-ph-signature-256", "timestamp_element": "t",
                            "signature_element": "", "signed": "{timestamp}.{body}", "encoding": "either"}, [TEXT],
           elements(b"x-ph-signature-256", b"", TEXT)),
    Family("time of the event", times(timestamp_of="event", max_age="48h", encoding="hex"), [TEXT],
           timestamped(X_SIGNATURE, X_TIMESTAMP, lambda now: seconds(now - 40 * 3600), hex_mac)),
    Family("time of the event, Standard Webhooks", webhooks(timestamp_of="event", max_age="48h"), [STANDARD],
           lambda body, now: standard("webhook-", decode(signers.standard_signature, STANDARD))(body, now - 40 * 3600),
           id_from="header", pointers=False),
    # Presets.
    Family("terra", {"scheme": "timestamped-hmac", "preset": "terra"}, [TEXT],
           elements(b"terra-signature", b"v1=", TEXT)),
    Family("whoop", {"scheme": "timestamped-hmac", "preset": "whoop"}, [TEXT],
           timestamped(b"x-whoop-signature", b"x-whoop-signature-timestamp", milliseconds, base64_mac,
                       lambda timestamp, body: timestamp + body)),
    Family("oura", {"scheme": "timestamped-hmac", "preset": "oura"}, [TEXT],
           timestamped(b"x-oura-signature", b"x-oura-timestamp", seconds, lambda signed: hex_mac(signed).upper(),
                       lambda timestamp, body: timestamp + body)),
    # Secrets sent by `requests`.
    Family("shared secret", {"scheme": "shared-secret", "header": "x-key"}, [TEXT],
           lambda _body, _now: [(b"x-key", TEXT.encode())], covers_body=False),
    Family("basic", {"scheme": "shared-secret", "form": "basic", "username": "medhook"}, [TEXT], authorization(basic),
           covers_body=False),
    Family("bearer", {"scheme": "shared-secret", "form": "bearer"}, [TEXT], authorization(bearer), covers_body=False),
]

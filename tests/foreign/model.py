"""A second implementation of the schemes, from the documentation of the config file alone.

It states which reason a delivery must be rejected with. Signatures come from software of others, not from here."""

import base64
import binascii
import datetime
import hashlib
import hmac
import re

ACCEPTED = ("accepted",)
MALFORMED, MISMATCH, MISSING = ("malformed_header",), ("signature_mismatch",), ("missing_header",)
STALE, AHEAD, REPEATED, AMBIGUOUS = ("stale",), ("in_the_future",), ("repeated_header",), ("ambiguous_body",)
# HTTP does not allow the value: answered 400 or 431 before there is a delivery.
NOT_HTTP = ("not_http",)
# The documentation leaves open which of the two it is.
EITHER = MALFORMED + MISMATCH

PRESETS = {
    "terra": {"header": "terra-signature", "timestamp_element": "t", "signature_element": "v1",
              "signed": "{timestamp}.{body}", "encoding": "hex"},
    "whoop": {"header": "x-whoop-signature", "timestamp_header": "x-whoop-signature-timestamp",
              "timestamp_unit": "milliseconds", "signed": "{timestamp}{body}", "encoding": "base64",
              "max_age": "2h"},
    "oura": {"header": "x-oura-signature", "timestamp_header": "x-oura-timestamp",
             "signed": "{timestamp}{body}", "encoding": "hex", "max_age": "2h"},
}
DURATION = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Rejected(Exception):
    """The reasons of which one is expected."""


def verify(options, secrets, headers, body, now):
    """Returns the reasons of which one is expected, or `ACCEPTED`."""
    options = options | PRESETS.get(options.get("preset"), {})
    found = {}
    for name, value in headers:
        if re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", value):
            return NOT_HTTP
        # Servers remove whitespace around a value.
        found.setdefault(name.lower(), []).append(value.strip(b" \t"))
    try:
        SCHEMES[options["scheme"]](options, secrets, found, body, now)
    except Rejected as rejected:
        return rejected.args[0]
    return ACCEPTED


def one(found, name):
    values = found.get(name.lower().encode(), [])
    if not values:
        raise Rejected(MISSING)
    if len(values) > 1:
        raise Rejected(REPEATED)
    if not values[0]:
        raise Rejected(MALFORMED)
    return values[0]


def key(secret, options):
    encoding = options.get("secret_encoding", "base64" if options["scheme"] == "standard-webhooks" else "text")
    if encoding == "text":
        return secret.encode()
    if encoding == "hex":
        return bytes.fromhex(secret)
    text = secret.removeprefix("whsec_")
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


def decoded(text, encoding, length):
    """Returns the bytes, or None unless the text is their only form in the encoding. Hex has either case."""
    if encoding in ("hex", "either") and re.fullmatch(rb"[0-9a-fA-F]{%d}" % (2 * length), text):
        return bytes.fromhex(text.decode())
    altchars = b"-_" if encoding == "base64url" else None
    if encoding == "hex" or not re.fullmatch(rb"[A-Za-z0-9-_]+=*" if altchars else rb"[A-Za-z0-9+/]+=*", text):
        return None
    try:
        value = base64.b64decode(text.rstrip(b"=") + b"=" * (-len(text.rstrip(b"=")) % 4), altchars)
    except binascii.Error:
        return None
    canonical = base64.b64encode(value, altchars)
    return value if len(value) == length and text in (canonical, canonical.rstrip(b"=")) else None


def fresh(seconds, options, now):
    if options.get("max_age"):
        oldest = int(options["max_age"][:-1]) * DURATION[options["max_age"][-1]]
    else:
        oldest = 300
    if seconds < now - oldest:
        raise Rejected(STALE)
    if seconds > now + 300:
        raise Rejected(AHEAD)


def time_of(text, options):
    unit = options.get("timestamp_unit", "seconds")
    if unit == "rfc-3339":
        if not re.fullmatch(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", text):
            raise Rejected(MALFORMED)
        try:
            return datetime.datetime.fromisoformat(text.decode()).timestamp()
        except ValueError:
            # Whether there are leap seconds is left open.
            raise Rejected(EITHER if text[17:19] == b"60" else MALFORMED) from None
    if not re.fullmatch(rb"0|[1-9][0-9]*", text):
        raise Rejected(MALFORMED)
    fixed = {"seconds": 10, "milliseconds": 13}[unit]
    if re.search(r"\{timestamp\}\{", options.get("signed", "")) and len(text) != fixed:
        raise Rejected(MALFORMED)
    return int(text) / (1000 if unit == "milliseconds" else 1)


def visible(value):
    if b"\t" in value:
        raise Rejected(EITHER)
    if re.search(rb"[^\x20-\x7e]", value):
        raise Rejected(MALFORMED)
    return value


def standard_webhooks(options, secrets, found, body, now):
    prefix = options.get("header_prefix", "webhook-")
    message = one(found, prefix + "id")
    if re.search(rb"[^\x21-\x7e]|\.", message):
        raise Rejected(MALFORMED)
    timestamp, listed = one(found, prefix + "timestamp"), visible(one(found, prefix + "signature"))
    seconds = time_of(timestamp, {})
    symmetric = [key(secret, options) for secret in secrets if not secret.startswith("whpk_")]
    public = [base64.b64decode(secret[5:]) for secret in secrets if secret.startswith("whpk_")]
    macs = re.findall(rb"(?<![^ ])v1,(.{44})(?![^ ])", listed) if symmetric else []
    signatures = re.findall(rb"(?<![^ ])v1a,(.{88})(?![^ ])", listed) if public else []
    if not macs and not signatures:
        raise Rejected(MALFORMED)
    fresh(seconds, options, now)
    signed = b".".join((message, timestamp, body))
    if any(base64.b64encode(hmac.digest(each, signed, "sha256")) in macs for each in symmetric):
        return
    for signature in filter(None, (decoded(each, "base64", 64) for each in signatures)):
        if any(ed25519(each, signature, signed) for each in public):
            return
    # Whether 88 characters that are no base64 are a malformed signature is left open.
    raise Rejected(EITHER if signatures else MISMATCH)


def ed25519(public, signature, signed):
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, signed)
    except InvalidSignature:
        return False
    return True


def presented(options, texts, length):
    """Returns the signatures in these texts, each with the prefix, of which one at least must have their form."""
    prefix, encoding = options.get("prefix", "").encode(), options.get("encoding", "either")
    found = [decoded(text[len(prefix):], encoding, length) for text in texts if text.startswith(prefix)]
    if not any(found):
        raise Rejected(MALFORMED)
    return [each for each in found if each]


def texts(options, value):
    separator = options.get("separator")
    return [each.strip(b" ") for each in value.split(separator.encode())] if separator else [value]


def hmac_body(options, secrets, found, body, _now):
    name = "sha512" if options["scheme"] == "hmac-sha512" else "sha256"
    length = hashlib.new(name).digest_size
    candidates = presented(options, texts(options, one(found, options["header"])), length)
    if not any(hmac.digest(key(secret, options), body, name) in candidates for secret in secrets):
        raise Rejected(MISMATCH)


def ed25519_body(options, secrets, found, body, _now):
    candidates = presented(options, texts(options, one(found, options["header"])), 64)
    publics = [base64.b64decode(secret.removeprefix("whpk_")) for secret in secrets]
    if not any(ed25519(public, candidate, body) for public in publics for candidate in candidates):
        raise Rejected(MISMATCH)


def timestamped(options, secrets, found, body, now):
    value = one(found, options["header"])
    name = options.get("hash", "sha-256").replace("-", "")
    length = hashlib.new(name).digest_size
    message = b""
    if "id_header" in options:
        message = one(found, options["id_header"])
        # The character after the id ends it.
        [end] = re.search(r"\{id\}(.)", options["signed"])[1].encode()
        if re.search(rb"[^\x21-\x7e]", message) or end in message:
            raise Rejected(MALFORMED)
    if "timestamp_header" in options:
        timestamp, candidates = one(found, options["timestamp_header"]), texts(options, value)
    else:
        elements = [element.strip(b" ").partition(b"=") for element in value.split(b",")]
        times = [text for element, _, text in elements if element == options["timestamp_element"].encode()]
        if len(times) != 1:
            raise Rejected(MALFORMED)
        timestamp, wanted = times[0], options.get("signature_element", "").encode()
        if wanted:
            candidates = [text for element, _, text in elements if element == wanted]
        else:
            candidates = [b"".join(parts) for parts in elements if not parts[2].strip(b"=")]
    seconds = time_of(timestamp, options)
    candidates = presented(options, candidates, length)
    fresh(seconds, options, now)
    signed = options.get("signed", "{timestamp}.{body}").encode()
    has_separator = not re.search(rb"\{timestamp\}\{", signed)
    # The body last: it can contain the name of a part.
    parts = {b"{timestamp}": timestamp, b"{id}": message, b"{body_base64}": base64.b64encode(body), b"{body}": body}
    signed = re.sub(rb"\{[a-z_0-9]+\}", lambda part: parts[part[0]], signed)
    if not any(hmac.digest(key(secret, options), signed, name) in candidates for secret in secrets):
        raise Rejected(MISMATCH)
    if not has_separator and body[:1] not in (b"{", b"["):
        raise Rejected(AMBIGUOUS)


def shared_secret(options, secrets, found, _body, _now):
    form = options.get("form")
    value = one(found, "authorization" if form else options["header"])
    if not form:
        if value not in (secret.encode() for secret in secrets):
            raise Rejected(MISMATCH)
        return
    word, space, rest = value.partition(b" ")
    if word.lower() != form.encode() or not space:
        raise Rejected(MALFORMED)
    if form == "bearer":
        wanted = [secret.encode() for secret in secrets]
    else:
        wanted = [base64.b64encode(f"{options['username']}:{secret}".encode()) for secret in secrets]
    if rest.lstrip(b" ") not in wanted:
        raise Rejected(MISMATCH)


SCHEMES = {
    "standard-webhooks": standard_webhooks, "hmac-sha256": hmac_body, "hmac-sha512": hmac_body,
    "timestamped-hmac": timestamped, "ed25519": ed25519_body, "shared-secret": shared_secret,
}

"""Every single flipped bit of a genuine delivery, with the reasons for which the receiver may reject it."""

import collections
import time

import model

Flip = collections.namedtuple("Flip", "place headers body")


def flips(family, headers):
    """Returns each delivery that differs in one bit of the body or of a header's value."""
    if family.covers_body:
        for bit in range(len(family.body) * 8):
            yield Flip(f"bit {bit} of the body", headers, flipped(family.body, bit))
    for number, (name, value) in enumerate(headers):
        for begin, end in family.flipped(name, value):
            for bit in range(begin * 8, end * 8):
                altered = list(headers)
                altered[number] = (name, flipped(value, bit))
                yield Flip(f"bit {bit} of {name.decode()}", altered, family.body)


def flipped(value, bit):
    altered = bytearray(value)
    altered[bit // 8] ^= 1 << (bit % 8)
    return bytes(altered)


def same_by_definition(genuine, flip):
    """Returns whether only the case of letters differs. Hex and the word `Basic` have either."""
    values = zip((value for _, value in genuine), (value for _, value in flip.headers))
    return all(one.lower() == other.lower() for one, other in values)


def play(family, receiver, headers):
    """Sends every flip, and returns how many deliveries were rejected for each reason and how many were equal."""
    groups = collections.defaultdict(list)
    for flip in flips(family, headers):
        groups[model.verify(family.options, family.secrets, flip.headers, flip.body, time.time())].append(flip)
    totals = collections.Counter()
    for reasons, group in sorted(groups.items()):
        before = receiver.counted()
        for flip in group:
            answer = receiver.post(flip.headers, flip.body)
            if reasons == model.ACCEPTED:
                assert same_by_definition(headers, flip), f"{flip.place}: the model accepts it"
                expected = 200
            else:
                expected = 400 if reasons == model.NOT_HTTP else 401
            assert answer.status == expected, f"{flip.place}: answered {answer.status} instead of {expected} {reasons}"
            assert answer.body == b"", f"{flip.place}: {answer.body}"
        after = receiver.counted()
        counted = dict(collections.Counter(after) - collections.Counter(before))
        allowed = {model.ACCEPTED: ("duplicate",), model.NOT_HTTP: ()}.get(reasons, reasons)
        if not set(counted) <= set(allowed) or sum(counted.values()) != (len(group) if allowed else 0):
            wrong = find(receiver, group, allowed)
            raise AssertionError(f"{len(group)} flips expect {allowed}, but counted {counted}; such as {wrong}")
        totals.update(counted)
        totals["not_http"] += len(group) if reasons == model.NOT_HTTP else 0
    return +totals


def find(receiver, group, allowed):
    """Returns the first delivery of a group that has another reason."""
    for flip in group:
        before = receiver.counted()
        receiver.post(flip.headers, flip.body)
        after = receiver.counted()
        causes = [cause for cause in after if after[cause] != before.get(cause, 0)]
        if not set(causes) <= set(allowed) or not causes:
            return flip.place, causes, flip.headers, flip.body
    return "none, when sent again"

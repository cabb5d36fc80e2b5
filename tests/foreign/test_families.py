"""Deliveries that software of others has signed."""

import case
import flips


def genuine(self, family):
    """A genuine delivery is handled once, and every bit of it matters."""
    with case.started(family) as receiver:
        headers = family.sign(family.body, case.now())
        self.assertEqual(receiver.post(headers, family.body).status, 200, receiver.logged())
        line = receiver.next_line()
        shown = {key: line[key] for key in ("outcome", "reason", "id_from", "secret", "status")}
        self.assertEqual(shown, {"outcome": "handled", "reason": None, "id_from": family.id_from, "secret": "SECRET_1",
                                 "status": 200})
        # The same bytes, and a retry that is signed again.
        for again in (headers, family.sign(family.body, case.now() - 1)):
            self.assertEqual(receiver.post(again, family.body).status, 200)
            line = receiver.next_line()
            self.assertEqual((line["outcome"], line["status"]), ("duplicate", 200))
        totals = flips.play(family, receiver, headers)
        counted = receiver.counted()
        not_http = totals.pop("not_http", 0)
        expected = {"handled": 1, **totals, "duplicate": 2 + totals.get("duplicate", 0)}
        self.assertEqual(counted, expected)
        # Rejections of one cause are summarized in one line.
        self.assertEqual(case.summed(receiver.stop()), expected)
        self.result_line = f"{sum(totals.values()) + not_http} flips: {dict(sorted(totals.items()))}"


Genuine = case.for_each_family(genuine)

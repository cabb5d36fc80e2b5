"""A receiver with something of everything that the page shows."""

import json

from receiver import FASTEN, LAB, MARK, MEDIQUO, Receiver

# Its application is not running: nothing listens at this port, which no service uses.
AWAY = """
[[endpoint]]
path = "/webhooks/cair"
name = "cair"
provider = "cair"
scheme = "hmac-sha256"
header = "X-API-KEY"
secrets = [{ env = "CAIR_SECRET" }]
inbox = true
expect_every = "1h"
forward = "http://127.0.0.1:9/cair"
"""

# Written into the kind of an event by its sender.
HOSTILE = [
    "<script>alert(0)</script>",
    "<script>alert('kind')</script>",
    "\"><img src=x onerror=alert(1)>",
    "' onmouseover='alert(2)",
    "</table></main><h1>forged</h1>",
    "&lt;b&gt; {{ 7*7 }} ${7*7}",
    "a-kind-without-a-place-to-break-it-" + "x" * 90,
    "\u202egnp.elif \u0000 \u200b kind",
]


def body_of(identity, kind):
    """Returns a body of the laboratory."""
    return json.dumps({"id": identity, "type": kind, "patient": MARK})


class Scene(Receiver):
    """Starts with deliveries of all outcomes, and with waiting, dead, done and discarded events."""

    def __init__(self):
        super().__init__(FASTEN, MEDIQUO, LAB, AWAY)
        self.application.start()
        self.start()
        try:
            self.fill()
        except BaseException:
            self.remove()
            raise

    def fill(self):
        self.send("fasten", "--id", MARK)
        self.send("fasten", "--id", MARK)
        self.send("fasten", "patient.ehi_export_failed")
        for flaw in ["--wrong-secret", "--tamper", "--stale", "--unsigned"]:
            self.send("fasten", flaw)
        self.application.answers = {"mediquo": (400, "no_such_patient"), "lab": (503, None)}
        for number in range(3):
            self.send("mediquo", "prescription_created", "--id", f"{MARK}-{number}")
        for number, kind in enumerate(HOSTILE):
            self.send_body("lab", body_of(f"{MARK}-{number}", kind))
        self.send("cair", "CLAIM_STATUS_CHANGE")
        self.send("cair", "ai-phone-call")
        dead = self.wait_for(3, "--endpoint mediquo --status dead")
        self.application.answers["mediquo"] = (200, None)
        self.send("mediquo", "patient_message_received")
        self.wait_for(1, "--endpoint mediquo --status done")
        self.shell(f'medhook inbox discard {dead[0]} --because "ticket 4711" --actor night')
        self.application.answers["mediquo"] = (500, None)
        self.shell(f'medhook inbox replay {dead[1]} --because "ticket 4712" --actor day')
        self.shell("medhook inbox pause lab --because 'the laboratory moves'")

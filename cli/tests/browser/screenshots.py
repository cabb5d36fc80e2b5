"""Takes the pictures of the documentation: invented endpoints and events of a few minutes, with some of everything."""

import random
import shutil
import subprocess
import time

import case
from operator_page import Operator
from receiver import FASTEN, LAB, MEDIQUO, Receiver

# The charts have a point for every 15 seconds.
MINUTES = 4
KINDS = {
    "fasten": ["patient.connection_success", "patient.ehi_export_success", "patient.request_support"],
    "mediquo": ["patient_consultation_created", "patient_message_received", "prescription_created"],
    "lab": ["sample.received", "result.ready"],
}


def fill(receiver):
    """Sends what the pictures show: for a while, the laboratory's application fails, and two events are given up."""
    application, chance = receiver.application.start(), random.Random(21)
    begun = time.monotonic()
    while (passed := (time.monotonic() - begun) / 60) < MINUTES:
        is_failing = MINUTES * 0.4 < passed < MINUTES * 0.6
        application.answers["lab"] = (503, None) if is_failing else (200, None)
        for endpoint, kinds in KINDS.items():
            receiver.send(endpoint, chance.choice(kinds), "--repeat", str(chance.randint(1, 4)), "--new-events")
        if chance.random() < 0.1:
            receiver.send("fasten", chance.choice(["--unsigned", "--stale"]))
        time.sleep(1 + 2 * chance.random())
    application.answers["mediquo"] = (400, "no_such_patient")
    receiver.send("mediquo", "prescription_created", "--repeat", "2", "--new-events")
    receiver.wait_for(2, "--endpoint mediquo --status dead")
    application.answers["mediquo"] = (200, None)
    receiver.send("mediquo", "patient_message_received")
    receiver.send("fasten", "--wrong-secret")


def take(folder):
    folder.mkdir(exist_ok=True)
    receiver = Receiver(FASTEN, MEDIQUO, LAB, port=3000)
    try:
        receiver.start()
        fill(receiver)
        for name, width, height, scale in [("light", 1280, 900, 1), ("dark", 375, 812, 2)]:
            options = {"viewport": {"width": width, "height": height}, "device_scale_factor": scale}
            operator = Operator(case.chromium, receiver.operations, color_scheme=name, **options).log_in()
            # The dead events are counted every few seconds.
            case.expect(operator.page.locator("#status")).to_contain_text("2 events are dead")
            file = folder / f"page-{name}.png"
            if name == "light":
                charts = operator.page.locator(".charts").bounding_box()
                height = charts["y"] + charts["height"] + 12
            clip = {"x": 0, "y": 0, "width": width, "height": height}
            operator.page.screenshot(path=file, animations="disabled", full_page=True, clip=clip)
            operator.check()
            operator.close()
            compress(file)
            print(f"{file}: {file.stat().st_size:,} B")
    finally:
        receiver.remove()


def compress(file):
    """Makes a picture smaller with pngquant, if it is installed: 256 colors are enough for text."""
    if shutil.which("pngquant"):
        subprocess.run(["pngquant", "--force", "--skip-if-larger", "--strip", "--output", file, "256", file])

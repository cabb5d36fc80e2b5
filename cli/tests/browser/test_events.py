"""Stored events: dead letters, the command that replays them, and the timeline of an event."""

from playwright.sync_api import expect

from case import Case
from receiver import LAB, MEDIQUO
from scene import HOSTILE, body_of
from test_refresh import cell


class Events(Case):
    def test_the_command_of_a_dead_event_replays_it_and_the_page_changes(self):
        receiver = self.receiver(MEDIQUO)
        receiver.application.start().answers["mediquo"] = (400, "no_such_patient")
        receiver.send("mediquo", "--repeat", "2", "--new-events")
        dead = receiver.wait_for(2, "--status dead")
        operator = self.operator(receiver)
        expect(cell(operator, "mediquo", "Dead")).to_have_text("2")
        cell(operator, "mediquo", "Dead").get_by_role("link").click()
        expect(operator.page.locator("table.events tbody tr")).to_have_count(2)
        expect(operator.page.locator("table.events")).to_contain_text("no_such_patient")
        operator.page.get_by_role("link", name=f"event {dead[0]}", exact=True).click()
        expect(operator.page.locator("main > .status")).to_contain_text("dead")
        command = operator.page.locator(".command code", has_text="replay").first.inner_text()
        receiver.application.answers["mediquo"] = (200, None)
        receiver.shell(command)
        expect(operator.page.locator("main > .status")).to_contain_text("done")
        timeline = operator.page.get_by_role("region", name="Timeline")
        expect(timeline).to_contain_text("replay")
        operator.open("/inbox?status=dead")
        expect(operator.page.locator("table.events tbody tr")).to_have_count(1)

    def test_the_button_copies_the_command(self):
        receiver = self.receiver(MEDIQUO)
        receiver.application.start().answers["mediquo"] = (400, "no_such_patient")
        receiver.send("mediquo")
        receiver.wait_for(1, "--status dead")
        operator = self.operator(receiver, "/inbox/1", permissions=["clipboard-read", "clipboard-write"])
        shown = operator.page.locator(".command").first
        shown.get_by_role("button").click()
        expect(operator.page.locator("#say")).to_contain_text("opied")
        self.assertEqual(operator.page.evaluate("navigator.clipboard.readText()"), shown.locator("code").inner_text())

    def test_an_event_that_is_dead_after_its_last_attempt_shows_each_step(self):
        receiver = self.receiver(MEDIQUO)
        receiver.application.start().answers["mediquo"] = (503, None)
        receiver.send("mediquo", "prescription_created")
        operator = self.operator(receiver, "/inbox/1")
        status = operator.page.locator("main > .status")
        expect(status).to_contain_text("dead")
        timeline = operator.page.get_by_role("region", name="Timeline")
        steps = timeline.get_by_role("listitem")
        expect(steps.first).to_contain_text("stored")
        expect(timeline).to_contain_text("status_503")
        # Stored, two attempts, and the end.
        expect(steps).to_have_count(4)
        receiver.shell("medhook inbox discard 1 --because 'ticket 4711' --actor night-shift")
        expect(status).to_contain_text("discarded")
        expect(steps.last).to_contain_text("discarded")
        by_operator = steps.filter(has_text="night-shift")
        expect(by_operator).to_contain_text("ticket 4711")

    def test_the_list_continues_with_older_events(self):
        receiver = self.receiver(LAB)
        receiver.application.start()
        receiver.send("lab", "--repeat", "120", "--new-events", "--concurrent", "8")
        operator = self.operator(receiver, "/inbox")
        seen = []
        rows = operator.page.locator("table.events tbody tr th")
        while True:
            seen += [int(text.split()[-1]) for text in rows.all_inner_texts()]
            older = operator.page.get_by_role("link", name="Older events")
            if older.count() == 0:
                break
            with operator.page.expect_navigation():
                older.click()
        self.assertEqual(seen, sorted(receiver.ids("--limit 1000"), reverse=True))
        self.assertEqual(len(seen), 120)

    def test_hostile_kinds_are_shown_as_text(self):
        receiver = self.receiver(LAB)
        receiver.application.start().answers["lab"] = (400, "no_such_patient")
        for number, kind in enumerate(HOSTILE):
            receiver.send_body("lab", body_of(f"event-{number}", kind))
        ids = receiver.wait_for(len(HOSTILE), "--status dead")
        operator = self.operator(receiver)
        for view in ["/", "/deliveries", "/deliveries?endpoint=%3Cscript%3Ealert(1)%3C/script%3E", "/inbox",
                     "/inbox?kind=%3Cscript%3Ealert(0)%3C/script%3E", "/inbox?kind=%22%3E%3Cimg+src=x%3E"]:
            operator.expected_statuses = {400, 404}
            operator.open(view)
            operator.refreshed()
            forged = operator.page.locator("main script, main img, main [onmouseover], main h1 ~ h1")
            self.assertEqual(forged.count(), 0)
        operator.open("/deliveries")
        kinds = operator.page.locator("main").inner_text()
        self.assertIn(HOSTILE[0], kinds)
        for id in ids:
            operator.open(f"/inbox/{id}")
        operator.open(f"/inbox/{ids[0]}")
        self.assertIn(HOSTILE[0], operator.text())

"""An open page shows what happens, without being loaded again."""

import re

from playwright.sync_api import expect

from case import Case
from receiver import FASTEN, LAB, MEDIQUO


def row(operator, name):
    """Returns the row of an endpoint in the overview."""
    header = operator.page.get_by_role("rowheader", name=name)
    return operator.page.locator("table.endpoints tbody tr").filter(has=header)


def cell(operator, name, label):
    return row(operator, name).locator(f"td[data-label='{label}']")


class Refresh(Case):
    def opened(self, receiver, path="/", **options):
        """Returns an operator with an open page. `not_loaded_again` fails once that page was replaced."""
        operator = self.operator(receiver, path, **options)
        operator.page.evaluate("window.isTheSamePage = true")
        self.addCleanup(lambda: self.assertTrue(operator.page.evaluate("window.isTheSamePage"), "it was loaded again"))
        return operator

    def test_a_rejected_delivery_arrives_with_its_reason_and_next_step(self):
        receiver = self.receiver(FASTEN)
        operator = self.opened(receiver, speed=1)
        problems = operator.page.get_by_role("region", name="Latest problems")
        expect(problems).to_contain_text("No delivery was rejected")
        receiver.send("fasten", "--wrong-secret")
        found = problems.locator("tbody tr")
        expect(found).to_contain_text("signature_mismatch")
        expect(found).to_contain_text("answered 401")
        expect(found).to_contain_text("compare the secret with the provider's")
        # One that differs in the flaw has another reason.
        receiver.send("fasten", "--unsigned")
        expect(found).to_have_count(2)
        expect(found.first).to_contain_text("missing_header")
        expect(found.first).to_contain_text("webhook-id")

    def test_the_backlog_grows_while_the_application_is_down_and_shrinks_after_it_is_back(self):
        receiver = self.receiver(MEDIQUO)
        operator = self.opened(receiver)
        waiting = cell(operator, "mediquo", "Waiting")
        expect(waiting).to_have_text("0")
        receiver.send("mediquo", "--repeat", "3", "--new-events")
        expect(waiting).to_have_text("3")
        expect(operator.page.locator("main")).to_contain_text("mediquo: the application is unreachable")
        backlog = operator.page.locator("figure.chart.backlog")
        expect(backlog.get_by_role("img")).to_have_accessible_name(re.compile("Now 3 events wait"))
        receiver.application.start()
        expect(waiting).to_have_text("0")
        self.assertEqual(receiver.application.received, 3)
        expect(cell(operator, "mediquo", "Dead")).to_have_text("0")

    def test_pause_stops_the_refreshes_until_it_is_pressed_again(self):
        receiver = self.receiver(FASTEN)
        operator = self.opened(receiver)
        operator.refreshed()
        pause = operator.page.locator("#pause")
        pause.click()
        expect(pause).to_have_attribute("aria-pressed", "true")
        # A refresh that was under way ends.
        operator.page.wait_for_timeout(500)
        receiver.send("fasten", "--wrong-secret")
        self.assertEqual(operator.refreshes_in(2 * operator.interval()), 0)
        self.assertNotIn("signature_mismatch", operator.text())
        pause.click()
        expect(operator.page.locator("main")).to_contain_text("signature_mismatch")

    def test_a_hidden_tab_does_not_refresh(self):
        receiver = self.receiver(FASTEN)
        operator = self.opened(receiver)
        operator.refreshed()
        # Headless Chromium has no hidden tabs, so the page is told that it is one.
        hide = """hidden => {
            Object.defineProperty(document, 'hidden', { configurable: true, get: () => hidden })
            const state = hidden ? 'hidden' : 'visible'
            Object.defineProperty(document, 'visibilityState', { configurable: true, get: () => state })
            document.dispatchEvent(new Event('visibilitychange'))
        }"""
        operator.page.evaluate(hide, True)
        operator.page.wait_for_timeout(500)
        self.assertEqual(operator.refreshes_in(2 * operator.interval()), 0)
        receiver.send("fasten", "--wrong-secret")
        operator.page.evaluate(hide, False)
        expect(operator.page.locator("main")).to_contain_text("signature_mismatch")

    def test_a_refresh_keeps_the_focus_the_scroll_position_and_open_details(self):
        receiver = self.receiver(FASTEN, MEDIQUO, LAB)
        operator = self.opened(receiver)
        page = operator.page
        page.get_by_text("Numbers of the charts as a table").click()
        link = row(operator, "mediquo").get_by_role("link", name="mediquo")
        link.focus()
        page.evaluate("window.scrollTo(0, 300)")
        before = page.evaluate("window.scrollY")
        receiver.send("fasten", "--wrong-secret")
        expect(page.locator("main")).to_contain_text("signature_mismatch")
        expect(link).to_be_focused()
        self.assertEqual(page.evaluate("window.scrollY"), before)
        expect(page.locator("details.numbers")).to_have_attribute("open", "")

    def test_a_receiver_that_is_gone_is_named_and_found_again(self):
        receiver = self.receiver(FASTEN)
        operator = self.opened(receiver)
        operator.refreshed()
        receiver.stop()
        expect(operator.page.locator("#trouble")).not_to_be_empty()
        # What was shown stays, with its time.
        expect(operator.page.get_by_role("heading", name="Endpoints")).to_be_visible()
        operator.ignore("net::ERR_")

    def test_the_filter_of_an_open_page_stays_in_use(self):
        receiver = self.receiver(FASTEN)
        receiver.application.start()
        operator = self.opened(receiver, "/deliveries?outcome=rejected")
        receiver.send("fasten")
        receiver.send("fasten", "--wrong-secret")
        rows = operator.page.locator("table.recents tbody tr")
        expect(rows).to_have_count(1)
        expect(rows).to_contain_text("signature_mismatch")

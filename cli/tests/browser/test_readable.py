"""The page is readable for everyone: in both themes, on a phone, by keyboard, by screen reader, and without scripts."""

import itertools
import os
from urllib.parse import urlsplit

from playwright.sync_api import expect

from case import Case, shared_scene
from operator_page import FOREIGN, axe, disclosed_in
from receiver import FASTEN, TOKEN

# Each view, and a text of it.
VIEWS = {
    "/": "Endpoints",
    "/deliveries": "signature_mismatch",
    "/deliveries?endpoint=fasten&outcome=rejected": "missing_header",
    "/deliveries?outcome=in_flight": "Deliveries",
    "/inbox": "CLAIM_STATUS_CHANGE",
    "/inbox?status=dead": "no_such_patient",
    "/inbox?kind=no-such-kind": "Inbox",
    "/inbox/1": "ticket 4711",
    "/inbox/2": "ticket 4712",
    "/inbox/3": "dead",
    "/inbox/4": "paused",
    "/inbox/14": "done",
    "/inbox/999999": "404",
    "/no-such-page": "404",
}
THEMES, WIDTHS = ["light", "dark"], [375, 1280]
# Every combination takes 90 seconds, so only scripts/nightly looks at each.
LOOKS = list((itertools.product if "MEDHOOK_TEST_FULL" in os.environ else zip)(THEMES, WIDTHS))


class Readable(Case):
    def everywhere(self, look):
        """Calls `look` with an operator at each view, including those without a session, in both themes and widths."""
        scene = shared_scene()
        for theme, width in LOOKS:
            options = {"color_scheme": theme, "viewport": {"width": width, "height": 800}}
            visitor = self.visitor(scene, **options)
            visitor.expected_statuses = {401, 403, 404, 421}
            where = f"in {theme} at {width}"
            visitor.open("/login")
            look(visitor, f"/login {where}")
            visitor.page.get_by_label("Token").fill("wrong")
            visitor.page.keyboard.press("Enter")
            expect(visitor.page.get_by_role("alert")).to_be_visible()
            look(visitor, f"a wrong token {where}")
            foreign = scene.operations.replace("127.0.0.1", FOREIGN)
            visitor.other_origins.add(foreign)
            visitor.page.goto(foreign)
            look(visitor, f"a foreign name {where}")
            visitor.ignore("Cross-Origin-Opener-Policy")
            visitor.log_in()
            for view, text in VIEWS.items():
                visitor.open(view)
                self.assertIn(text, visitor.page.content(), view)
                look(visitor, f"{view} {where}")
                for details in visitor.page.locator("details").all():
                    details.locator("summary").click()
                    look(visitor, f"{view} with open details {where}")

    def test_axe_finds_no_violation_and_no_view_is_wider_than_the_window(self):
        source, found, looked = axe(), [], set()

        def look(operator, where):
            looked.add(where)
            operator.page.evaluate(source)
            result = operator.page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
            for violation in result["violations"]:
                nodes = [f"{node['html'][:200]}: {node['failureSummary']}" for node in violation["nodes"][:3]]
                found.append("\n  ".join([f"{where}: {violation['id']}: {violation['help']}", *nodes]))
            # At 320 px, a page of 1280 px is shown that is enlarged to 400 %.
            widths = {375: [320, 375], 1280: [768, 1280]}[operator.page.viewport_size["width"]]
            for width in widths:
                operator.page.set_viewport_size({"width": width, "height": 800})
                scrolled = operator.page.evaluate("document.documentElement.scrollWidth")
                if scrolled > width:
                    found.append(f"{where}: {scrolled} px wide in a window of {width} px")

        self.everywhere(look)
        self.assertEqual(found, [], "\n".join(found))
        self.assertGreater(len(looked), len(LOOKS) * len(VIEWS))

    def test_without_scripts_everything_is_readable_and_refresh_works(self):
        receiver = self.receiver(FASTEN)
        receiver.send("fasten", "--wrong-secret")
        operator = self.operator(receiver, java_script_enabled=False)
        self.assertIn("signature_mismatch", operator.text())
        self.assertIn("compare the secret with the provider's", operator.text())
        # It could do nothing without scripts.
        expect(operator.page.locator("#pause")).to_be_hidden()
        receiver.send("fasten", "--unsigned")
        operator.page.get_by_role("link", name="Refresh").click()
        expect(operator.page.locator("main")).to_contain_text("missing_header")
        operator.page.get_by_role("link", name="Deliveries", exact=True).click()
        operator.page.get_by_label("Outcome").select_option("rejected")
        operator.page.get_by_role("button", name="Show", exact=True).click()
        expect(operator.page.locator("table.recents tbody tr")).to_have_count(2)
        operator.page.get_by_role("button", name="Log out").click()
        expect(operator.page.get_by_label("Token")).to_be_visible()

    def test_the_keyboard_reaches_everything_in_order(self):
        operator = self.visitor(shared_scene())
        page = operator.page
        operator.open("/")
        page.keyboard.type(TOKEN)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Endpoints")).to_be_visible()
        page.keyboard.press("Tab")
        skip = page.get_by_role("link", name="Skip to the content")
        expect(skip).to_be_focused()
        expect(skip).to_be_in_viewport()
        page.keyboard.press("Enter")
        expect(page.locator("main")).to_be_focused()
        operator.open("/")
        places, names = [], []
        for _ in range(200):
            page.keyboard.press("Tab")
            focused = page.evaluate(
                """() => {
                    const found = document.activeElement
                    if (!found || found === document.body) return null
                    const box = found.getBoundingClientRect(), style = getComputedStyle(found)
                    const marked = style.outlineStyle !== 'none' || style.boxShadow !== 'none'
                    const all = [...document.querySelectorAll('*')]
                    return { at: all.indexOf(found), name: found.innerText || found.getAttribute('aria-label') || '',
                             seen: marked && box.width > 0 && box.height > 0 }
                }"""
            )
            if focused is None or focused["at"] in places:
                break
            self.assertTrue(focused["seen"], f"the focus is not visible at {focused['name']}")
            places.append(focused["at"])
            names.append(focused["name"].strip())
        # In the order of the document.
        self.assertEqual(places, sorted(places), names)
        for name in ["Overview", "Deliveries", "Inbox", "Pause", "Refresh", "Log out", "fasten", "mediquo", "lab"]:
            self.assertIn(name, names)

    def test_no_page_has_a_body_an_event_id_or_a_secret(self):
        scene = shared_scene()
        operator = self.operator(scene)
        todo, pages = ["/", "/login", "/assets/page.css", "/assets/page.js", *VIEWS], {}
        while todo:
            address = todo.pop()
            if address in pages or len(pages) > 300:
                continue
            answer = operator.context.request.get(scene.operations + address)
            self.assertIn(answer.status, (200, 404), address)
            if not address.startswith("/assets/"):
                self.assertEqual(answer.headers["cache-control"], "no-store", address)
            pages[address] = answer.text()
            if "text/html" in answer.headers["content-type"]:
                operator.open(address) if answer.status == 200 else None
                links = operator.page.eval_on_selector_all("a[href]", "all => all.map(one => one.href)")
                for link in map(urlsplit, links):
                    self.assertEqual(f"{link.scheme}://{link.netloc}", scene.operations)
                    todo.append(link.path + (f"?{link.query}" if link.query else ""))
        self.assertGreater(len(pages), 30)
        self.assertEqual(disclosed_in(pages), [])

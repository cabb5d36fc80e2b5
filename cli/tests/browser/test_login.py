"""Who sees the page: the token, the session, and requests from elsewhere."""

import http.server
import threading

from playwright.sync_api import expect

from case import Case, shared_scene
from operator_page import FOREIGN
from receiver import FASTEN, TOKEN

VIEWS = ["/", "/deliveries", "/inbox", "/inbox/1", "/inbox/999999"]


class ForeignSite:
    """A web site of another origin that an operator visits while logged in."""

    def __init__(self, html):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("content-type", "text/html")
                self.send_header("content-length", str(len(html)))
                self.end_headers()
                self.wfile.write(html.encode())

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://{FOREIGN}:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Login(Case):
    def foreign_site(self, operator, html):
        site = ForeignSite(f"<!doctype html><link rel=icon href=data:,>{html}")
        self.addCleanup(site.close)
        operator.other_origins.add(site.origin)
        return site.origin

    def test_every_view_asks_for_the_token_and_shows_the_view_afterwards(self):
        receiver = shared_scene()
        for view in VIEWS[1:4] + ["/inbox?status=dead&endpoint=mediquo"]:
            visitor = self.visitor(receiver)
            visitor.open(view)
            expect(visitor.page.get_by_label("Token")).to_be_focused()
            self.assertNotIn("mediquo", visitor.text("body"))
            visitor.page.get_by_label("Token").fill(TOKEN)
            visitor.page.keyboard.press("Enter")
            visitor.page.wait_for_url(receiver.operations + view)
            self.assertIn("mediquo", visitor.text("body"))

    def test_no_view_answers_without_a_session(self):
        receiver = shared_scene()
        for view in VIEWS:
            visitor = self.visitor(receiver)
            answer = visitor.context.request.get(receiver.operations + view, max_redirects=0)
            self.assertIn(answer.status, (302, 303), view)
            self.assertEqual(answer.headers["cache-control"], "no-store", view)
            self.assertTrue(answer.headers["location"].startswith("/login"), answer.headers)
            visitor.open("/login")

    def test_a_wrong_token_is_named_and_the_form_works_again(self):
        receiver = self.receiver(FASTEN)
        visitor = self.visitor(receiver)
        visitor.expected_statuses = {401, 403}
        visitor.open("/")
        for wrong in [TOKEN[:-1], TOKEN + "x"]:
            visitor.page.get_by_label("Token").fill(wrong)
            visitor.page.get_by_role("button", name="Log in").click()
            expect(visitor.page.get_by_role("alert")).to_contain_text("token")
            expect(visitor.page.get_by_label("Token")).to_have_value("")
            self.assertEqual(visitor.context.cookies(), [])
            self.assertNotIn(wrong, visitor.page.content())
        visitor.page.get_by_label("Token").fill(TOKEN)
        visitor.page.get_by_role("button", name="Log in").click()
        expect(visitor.page.get_by_role("heading", name="Endpoints")).to_be_visible()

    def test_the_session_cookie_is_out_of_reach_of_scripts_and_other_sites(self):
        receiver = shared_scene()
        operator = self.operator(receiver)
        [cookie] = operator.context.cookies()
        self.assertTrue(cookie["httpOnly"], cookie)
        self.assertEqual(cookie["sameSite"], "Strict")
        self.assertEqual(cookie["path"], "/")
        self.assertNotIn(TOKEN, cookie["value"])
        self.assertEqual(operator.page.evaluate("document.cookie"), "")
        storage = operator.page.evaluate("[localStorage.length, sessionStorage.length]")
        self.assertEqual(storage, [0, 0])

    def test_logging_out_ends_the_session_at_the_receiver(self):
        receiver = self.receiver(FASTEN)
        operator = self.operator(receiver)
        cookies = operator.context.cookies()
        operator.page.get_by_role("button", name="Log out").click()
        expect(operator.page.get_by_label("Token")).to_be_visible()
        # The browser has no copy of the page either.
        operator.page.go_back()
        expect(operator.page.get_by_label("Token")).to_be_visible()
        operator.context.add_cookies(cookies)
        operator.open("/")
        expect(operator.page.get_by_label("Token")).to_be_visible()

    def test_a_restart_ends_the_session_and_the_open_page_says_so(self):
        receiver = self.receiver(FASTEN)
        operator = self.operator(receiver)
        operator.expected_statuses = {401, 403}
        receiver.stop()
        receiver.start()
        expect(operator.page.locator("#trouble")).to_contain_text("The session has ended")
        # Nothing of the receiver stays on the screen.
        expect(operator.page.locator("main")).to_be_empty()
        self.assertEqual(operator.page.title(), "medhook")
        operator.page.get_by_role("link", name="Log in").click()
        expect(operator.page.get_by_label("Token")).to_be_visible()
        operator.open("/")
        expect(operator.page.get_by_label("Token")).to_be_visible()
        # The page may have noticed that the receiver was away.
        operator.problems = [problem for problem in operator.problems if "net::ERR_" not in problem]

    def test_a_view_that_is_not_refreshed_for_an_hour_is_cleared(self):
        receiver = self.receiver(FASTEN)
        operator = self.visitor(receiver, speed=1)
        operator.page.clock.install()
        operator.log_in()
        operator.page.locator("#pause").click()
        operator.page.clock.fast_forward("59:00")
        expect(operator.page.get_by_role("heading", name="Endpoints")).to_be_visible()
        operator.page.clock.fast_forward("01:30")
        expect(operator.page.locator("#trouble")).to_contain_text("not refreshed for an hour")
        expect(operator.page.locator("main")).to_be_empty()
        # The session of this receiver is still open.
        operator.page.get_by_role("link", name="Show it again").click()
        expect(operator.page.get_by_role("heading", name="Endpoints")).to_be_visible()

    def test_a_foreign_name_of_the_same_address_is_rejected(self):
        receiver = shared_scene()
        operator = self.operator(receiver)
        operator.expected_statuses = {421}
        foreign = receiver.operations.replace("127.0.0.1", FOREIGN)
        operator.other_origins.add(foreign)
        for path in ["/", "/login", "/inbox/1"]:
            answer = operator.page.goto(foreign + path)
            self.assertEqual(answer.status, 421, path)
            self.assertNotIn("mediquo", operator.page.content())
            self.assertEqual(operator.page.locator("form").count(), 0)
        # Chromium ignores one of the headers without TLS, unless the address is on loopback.
        operator.ignore("Cross-Origin-Opener-Policy")

    def test_a_link_from_another_site_carries_no_session(self):
        receiver = shared_scene()
        operator = self.operator(receiver)
        site = self.foreign_site(operator, f'<a href="{receiver.operations}/inbox">look</a>')
        operator.page.goto(site)
        operator.page.get_by_text("look").click()
        expect(operator.page.get_by_label("Token")).to_be_visible()
        # The session itself is not affected.
        operator.open("/inbox")
        expect(operator.page.get_by_role("heading", name="Inbox")).to_be_visible()

    def test_a_form_of_another_site_neither_logs_in_nor_out(self):
        receiver = shared_scene()
        for action, fields in [("/logout", ""), ("/login", f'<input name="token" value="{TOKEN}">')]:
            operator = self.operator(receiver)
            operator.expected_statuses = {403}
            form = f'<form method="post" action="{receiver.operations}{action}">{fields}<button>go</button></form>'
            site = self.foreign_site(operator, form)
            before = operator.context.cookies()
            operator.page.goto(site)
            with operator.page.expect_navigation() as navigation:
                operator.page.get_by_text("go").click()
            self.assertEqual(navigation.value.status, 403, action)
            self.assertEqual(operator.context.cookies(), before)
            operator.open("/")
            expect(operator.page.get_by_role("heading", name="Endpoints")).to_be_visible()

    def test_another_site_cannot_show_the_page_in_a_frame(self):
        receiver = shared_scene()
        visitor = self.visitor(receiver)
        visitor.open("/login")
        site = self.foreign_site(visitor, f'<iframe src="{receiver.operations}/login"></iframe>')
        visitor.page.goto(site)
        visitor.page.wait_for_timeout(200)
        [frame] = visitor.page.main_frame.child_frames
        self.assertEqual(frame.get_by_label("Token").count(), 0)
        visitor.ignore("frame-ancestors")

    def test_next_leads_to_no_other_site(self):
        receiver = self.receiver(FASTEN)
        for following in ["//evil.example/", "https://evil.example/", "/\\evil.example/", "javascript:alert(1)"]:
            visitor = self.visitor(receiver)
            visitor.open(f"/login?next={following}")
            visitor.page.evaluate(
                "next => { document.querySelector('[name=next]').value = next }", following
            )
            visitor.page.get_by_label("Token").fill(TOKEN)
            visitor.page.get_by_role("button", name="Log in").click()
            expect(visitor.page.get_by_role("heading", name="Endpoints")).to_be_visible()

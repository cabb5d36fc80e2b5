"""Handshakes that clients of others request: `requests` and Python's `http.client`."""

import http.client
import unittest

import requests

import families
import receiver
import signers

TOKEN = "made-up-verification-token-0001"
CHALLENGE = "c29tZS1jaGFsbGVuZ2U-_1"
SIGNED = {"scheme": "hmac-sha256", "header": "x-signature", "encoding": "hex"} | families.POINTERS
OURA = {"scheme": "timestamped-hmac", "preset": "oura"} | families.POINTERS


def endpoint(handshake, options=SIGNED):
    return receiver.Receiver(options | {"handshake": handshake}, [families.TEXT], {"TOKEN": TOKEN})


def signed(body):
    return {"x-signature": signers.openssl_hex(families.TEXT, body).decode()}


class Handshakes(unittest.TestCase):
    def assert_safe(self, answer, content_type):
        """No browser takes the answer for a page, and no cache keeps it."""
        self.assertEqual(answer.status_code, 200)
        self.assertEqual(answer.headers["content-type"], content_type)
        self.assertEqual(answer.headers["x-content-type-options"], "nosniff")
        self.assertEqual(answer.headers["cache-control"], "no-store")
        self.assertNotIn("access-control-allow-origin", answer.headers)
        self.assertNotIn("webhook-allowed-origin", answer.headers)

    def assert_rejected(self, answer, status=401):
        self.assertEqual((answer.status_code, answer.content), (status, b""))

    def handled(self, running):
        """Returns how many deliveries reached the handler."""
        counted = running.counted()
        return counted.get("handled", 0) + counted.get("duplicate", 0)

    def test_ping_pong(self):
        handshake = {"type": "ping-pong", "ping_pointer": "/ping", "pong_key": "pong"}
        with endpoint(handshake) as running:
            body = b'{"ping":"a\\"b<i>","meta":{"type":"ping"}}'
            for _ in range(2):
                answer = requests.post(running.url, data=body, headers=signed(body))
                self.assert_safe(answer, "application/json")
                self.assertEqual(answer.json(), {"pong": 'a"b<i>'})
            # A ping that is not signed, that is signed by another secret, or whose body differs.
            self.assert_rejected(requests.post(running.url, data=body))
            other = {"x-signature": signers.openssl_hex(families.OLD_TEXT, body).decode()}
            self.assert_rejected(requests.post(running.url, data=body, headers=other))
            for bit in range(len(body) * 8):
                altered = bytearray(body)
                altered[bit // 8] ^= 1 << (bit % 8)
                self.assertEqual(running.post([(b"x-signature", signed(body)["x-signature"].encode())],
                                              bytes(altered)).status, 401, bit)
            self.assertEqual(self.handled(running), 0)
            # An event beside it is delivered.
            answer = requests.post(running.url, data=families.BODY, headers=signed(families.BODY))
            self.assertEqual((answer.status_code, self.handled(running)), (200, 1))

    def echo(self, handshake, with_token):
        with endpoint(handshake | {"parameter": "challenge", "token": {"env": "TOKEN"}}, OURA) as running:
            yield with_token(running, TOKEN, CHALLENGE)
            for bit in range(len(TOKEN) * 8):
                altered = bytearray(TOKEN.encode())
                altered[bit // 8] ^= 1 << (bit % 8)
                try:
                    wrong = altered.decode("ascii")
                    answer = with_token(running, wrong, CHALLENGE)
                except (UnicodeDecodeError, requests.exceptions.InvalidHeader):
                    continue
                # HTTP does not allow every control character in a header.
                self.assert_rejected(answer, 400 if answer.status_code == 400 and not wrong.isprintable() else 401)
            for wrong in ("<script>alert(0)</script>", "a b", 'a"b', "", "é", "a\r\nb", "x" * 600):
                self.assert_rejected(with_token(running, TOKEN, wrong))
            for parameters in ({}, {"verification_token": TOKEN}, {"challenge": CHALLENGE}):
                self.assert_rejected(requests.get(running.url, params=parameters))
            counted = running.counted()
            self.assertEqual((self.handled(running), counted.get("missing_header", 0)), (0, 0), counted)
            self.assertGreater(counted["handshake_rejected"], 100, counted)

    def test_echo_in_json_with_a_token_in_the_query(self):
        def ask(running, token, challenge):
            return requests.get(running.url, params={"verification_token": token, "challenge": challenge})

        handshake = {"type": "echo", "token_parameter": "verification_token", "answer": "json",
                     "answer_key": "challenge"}
        for answer in self.echo(handshake, ask):
            self.assert_safe(answer, "application/json")
            self.assertEqual(answer.json(), {"challenge": CHALLENGE})

    def test_echo_as_text_with_a_token_in_a_header(self):
        def ask(running, token, challenge):
            return requests.get(running.url, params={"challenge": challenge}, headers={"verification-token": token})

        handshake = {"type": "echo", "token_header": "verification-token", "answer": "text"}
        for answer in self.echo(handshake, ask):
            self.assert_safe(answer, "text/plain; charset=utf-8")
            self.assertEqual(answer.text, CHALLENGE)

    def test_hmac_of_a_challenge(self):
        handshake = {"type": "hmac", "parameter": "msg", "answer_key": "secret_token"}
        with endpoint(handshake) as running:
            for challenge in (CHALLENGE, "a", "A-Z_09" * 10):
                answer = requests.get(running.url, params={"msg": challenge})
                self.assert_safe(answer, "application/json")
                expected = signers.openssl_hex(families.TEXT, challenge.encode()).decode()
                self.assertEqual(answer.json(), {"secret_token": expected})
                # The answer is the MAC of a body, but no delivery has such a body.
                forged = requests.post(running.url, data=challenge.encode(), headers={"x-signature": expected})
                self.assert_rejected(forged)
            # Texts that could be a body of a delivery, are too long or are not as documented.
            for wrong in ("{}", "[]", families.BODY.decode(), "a.b", "a b", "", "a" * 65, "é", "1732780800.{}"):
                self.assert_rejected(requests.get(running.url, params={"msg": wrong}))
            self.assertEqual(self.handled(running), 0)
            self.assertEqual(running.counted()["handshake_rejected"], 9)

    def test_hmac_of_a_challenge_is_a_mistake_where_it_would_be_a_signature(self):
        handshake = {"type": "hmac", "parameter": "msg", "answer_key": "secret_token"}
        for signed, expected in (("{timestamp}.{body}", 0), ("{body_base64}-{timestamp}", 2)):
            options = {"scheme": "timestamped-hmac", "header": "x-signature", "timestamp_header": "x-timestamp",
                       "signed": signed, "encoding": "hex", "handshake": handshake}
            with receiver.Endpoint(options, [families.TEXT]) as made:
                code, printed = made.run("receive", "--check", "--config", "medhook.toml")
                self.assertEqual(code, expected, printed)

    def test_head(self):
        for handshake, status in (({"type": "head"}, 200), (None, 405)):
            made = endpoint(handshake) if handshake else receiver.Receiver(SIGNED, [families.TEXT])
            with made as running:
                connection = http.client.HTTPConnection("127.0.0.1", running.port)
                connection.request("HEAD", receiver.PATH)
                answer = connection.getresponse()
                self.assertEqual((answer.status, answer.read()), (status, b""))
                connection.close()
                self.assertEqual(self.handled(running), 0)
                self.assertEqual(requests.get(running.url).status_code, 405)

    def test_unsigned_ping(self):
        with endpoint({"type": "unsigned-ping", "header": "x-event", "value": "PING"}) as running:
            answer = requests.post(running.url, data=b"{}", headers={"x-event": "PING"})
            self.assertEqual((answer.status_code, answer.content), (200, b""))
            for wrong in ("ping", "PINH", "PINGPING", "EXERCISE"):
                self.assert_rejected(requests.post(running.url, data=b"{}", headers={"x-event": wrong}))
            # With a signature it is a delivery.
            wrong = {"x-event": "PING", "x-signature": "0" * 64}
            self.assert_rejected(requests.post(running.url, data=b"{}", headers=wrong))
            genuine = {"x-event": "PING"} | signed(families.BODY)
            self.assertEqual(requests.post(running.url, data=families.BODY, headers=genuine).status_code, 200)
            self.assertEqual(running.counted(), {"missing_header": 4, "signature_mismatch": 1, "handled": 1}
                             | {key: value for key, value in running.counted().items() if "handshake" in key})

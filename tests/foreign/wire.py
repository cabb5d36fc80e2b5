"""HTTP/1.1 over a socket, so that every byte of a header's value can be sent, also those that HTTP does not allow."""

import socket

PATIENCE = 30


class Client:
    """A connection to the receiver that is opened again whenever it was closed."""

    def __init__(self, port):
        self.port, self.socket, self.unread = port, None, b""

    def send(self, method, target, headers, body=b""):
        """Sends a request with these pairs of bytes as headers, and returns the answer."""
        lines = [f"{method} {target} HTTP/1.1".encode(), b"host: 127.0.0.1"]
        lines += [name + b": " + value for name, value in headers]
        if method == "POST":
            lines.append(b"content-length: %d" % len(body))
        request = b"\r\n".join(lines) + b"\r\n\r\n" + body
        for fresh in (self.socket is None, True):
            try:
                if self.socket is None:
                    self.socket, self.unread = socket.create_connection(("127.0.0.1", self.port), PATIENCE), b""
                    # Otherwise an answer can wait for the acknowledgment of the one before it.
                    self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.socket.sendall(request)
                return self.answer(method)
            except (ConnectionError, EOFError):
                self.close()
                # An idle connection can be closed while the request is on its way.
                if fresh:
                    raise

    def answer(self, method):
        while b"\r\n\r\n" not in self.unread:
            self.receive()
        head, self.unread = self.unread.split(b"\r\n\r\n", 1)
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
        length = 0 if method == "HEAD" else int(headers.get("content-length", 0))
        while len(self.unread) < length:
            self.receive()
        body, self.unread = self.unread[:length], self.unread[length:]
        if headers.get("connection") == "close":
            self.close()
        return Answer(int(status.split(" ")[1]), headers, body)

    def receive(self):
        more = self.socket.recv(65536)
        if not more:
            raise EOFError("the receiver closed the connection without an answer")
        self.unread += more

    def close(self):
        if self.socket:
            self.socket.close()
        self.socket, self.unread = None, b""


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

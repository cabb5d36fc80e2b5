"""An application of others: a server of Python's standard library that keeps what is sent to it."""

import http.server
import threading


class Sink:
    """Answers every delivery with 200, and keeps the last one."""

    def __enter__(self):
        sink = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                # Read in the same way as by an application that uses an SDK.
                sink.body = self.rfile.read(int(self.headers["content-length"]))
                sink.headers = dict(self.headers.items())
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

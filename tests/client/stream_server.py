"""A real server for event streams: each connection follows the next line of a script."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Scene:
    """One connection: what is answered, and whether the connection is then cut in the middle of the body."""

    text: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    hold: bool = False


@dataclass
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class StreamServer:
    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[Asked] = []
        self.hung_up = threading.Event()


@contextmanager
def serving(*script: Scene) -> Iterator[StreamServer]:
    scenes = iter(script)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            server.asked.append(Asked(self.command, self.path, headers, body))
            scene = next(scenes)
            self.send_response(scene.status)
            self.send_header("Content-Type", "text/event-stream")
            for name, value in scene.headers.items():
                self.send_header(name, value)
            missing = 1000 if scene.cut or scene.hold else 0
            self.send_header("Content-Length", str(len(scene.text.encode()) + missing))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(scene.text.encode())
            self.close_connection = True
            if scene.hold:
                # Nothing more comes from here; what ends this read is the client hanging up.
                self.connection.recv(1)
                server.hung_up.set()

        do_GET = do_POST = _answer

        def log_message(self, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = StreamServer(f"http://127.0.0.1:{http.server_address[1]}")
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()

"""A file server over real TLS that a test may misuse, and the outside that leads to it and nowhere else."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import trustme

from middleware.recordings.address import Outside

HOST = "files.example.com"


def wav(seconds: float = 0.1, sample: bytes = b"\x00\x10") -> bytes:
    """Return a recording: mono, 8 kHz, 16 bit."""
    data = sample * int(8000 * seconds)
    head = b"RIFF" + (36 + len(data)).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
    form = b"\x01\x00\x01\x00" + (8000).to_bytes(4, "little") + (16000).to_bytes(4, "little") + b"\x02\x00\x10\x00"
    return head + form + b"data" + len(data).to_bytes(4, "little") + data


Answer = Callable[[BaseHTTPRequestHandler], None]


def whole(
    body: bytes, status: int = 200, length: int | None = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """Return an answer with this body, that may lie about its length."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body) if length is None else length))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


@dataclass
class FileServer:
    """``answers`` is what each path is answered; ``seen`` are the requests' heads; ``opened`` where libcurl went."""

    port: int
    ca_file: Path
    answers: dict[str, Answer] = field(default_factory=dict)
    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    opened: list[str] = field(default_factory=list)
    over: Event = field(default_factory=Event)

    @property
    def host(self) -> str:
        return f"{HOST}:{self.port}"

    def url(self, path: str = "/a.wav") -> str:
        return f"https://{self.host}{path}"

    def outside(self) -> Outside:
        """Return an outside where every name leads to this server, which is allowed for once."""
        return Outside(
            resolve=lambda _host, _port: ["127.0.0.1"],
            is_allowed=lambda address: str(address) == "127.0.0.1",
            ca_file=str(self.ca_file),
            opened=self.opened.append,
        )


@contextmanager
def file_server(folder: Path) -> Iterator[FileServer]:
    """Run a file server on a free port, with a certificate of a CA of its own."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(context)
    ca_file = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))

    class Handler(BaseHTTPRequestHandler):
        def setup(self) -> None:
            self.request = context.wrap_socket(self.request, server_side=True)
            super().setup()

        def finish(self) -> None:
            with suppress(OSError):
                super().finish()
            self.request.close()

        def do_GET(self) -> None:
            told.seen.append((self.path, dict(self.headers)))
            with suppress(OSError):
                told.answers.get(self.path, whole(b"", 404))(self)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Say nothing of a client that has gone."""

    server = Server(("127.0.0.1", 0), Handler)
    told = FileServer(port=server.server_port, ca_file=ca_file)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield told
    finally:
        told.over.set()
        server.shutdown()
        thread.join()
        server.server_close()

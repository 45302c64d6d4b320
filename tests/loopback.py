# SPDX-License-Identifier: Apache-2.0
"""A real HTTP server on loopback that does what it is told to: ranges, tags, cuts, errors, slowness."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Site:
    """What a server has and how it behaves.

    Args:
      files: path to content.
      ranges: whether it knows Range and If-Range.
      tags: whether it sends an ETag.
      times: whether it sends Last-Modified.
      cuts: of the next transfers of GET, after how many bytes each is cut.
      status: an error that every request gets; 0 for none.
      no_head: answer to HEAD; 0 to answer it.
      pause_s: before each body.
      headers: more of them.
      password: "user:word" that is asked for, "" for none.
      log: method, path and Range of each request.
    """

    files: dict[str, bytes]
    ranges: bool = True
    tags: bool = True
    times: bool = True
    cuts: list[int] = field(default_factory=list)
    status: int = 0
    no_head: int = 0
    pause_s: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)
    password: str = ""
    moved: dict[str, str] = field(default_factory=dict)
    log: list[tuple[str, str, str]] = field(default_factory=list)
    url: str = ""

    def methods(self) -> list[str]:
        found = [method for method, _, _ in self.log]
        self.log.clear()
        return found


@contextlib.contextmanager
def served(site: Site) -> Iterator[Site]:
    """The site at its `url` while the block runs."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            _answer(self, site)

        def do_GET(self) -> None:
            _answer(self, site)

        def log_message(self, *_: object) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _answer(request: http.server.BaseHTTPRequestHandler, site: Site) -> None:
    path, asked = request.path.partition("?")[0], request.headers.get("Range", "")
    site.log.append((request.command, request.path, asked))
    status = site.status or (site.no_head if request.command == "HEAD" else 0)
    told = request.headers.get("Authorization", "")
    if site.password and not told.startswith("Basic "):
        status = 401
    if path in site.moved:
        _plain(request, 302, {"Location": site.moved[path]})
    elif status or path not in site.files:
        _plain(request, status or 404, {})
    else:
        _send(request, site, site.files[path], asked)


def _plain(request: http.server.BaseHTTPRequestHandler, status: int, headers: dict[str, str]) -> None:
    request.send_response(status)
    for name, value in {"Content-Length": "0", **headers}.items():
        request.send_header(name, value)
    request.end_headers()


def _send(request: http.server.BaseHTTPRequestHandler, site: Site, data: bytes, asked: str) -> None:
    tag = f'"{hashlib.sha256(data).hexdigest()[:16]}"' if site.tags else ""
    changed = f"Sat, 21 Nov 2026 10:00:{data[0] % 60:02d} GMT" if site.times else ""
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", asked) if site.ranges else None
    condition = request.headers.get("If-Range", "")
    start, end, status = 0, len(data), 200
    if match and condition in ("", tag, changed):
        start, end, status = int(match[1]), int(match[2] or len(data) - 1) + 1, 206
    request.send_response(status)
    if status == 206:
        request.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(data)}")
    for name, value in {"ETag": tag, "Last-Modified": changed, **site.headers}.items():
        if value:
            request.send_header(name, value)
    request.send_header("Content-Length", str(end - start))
    request.end_headers()
    if request.command == "HEAD":
        return
    time.sleep(site.pause_s)
    body = data[start:end]
    if site.cuts:
        body = body[: site.cuts.pop(0)]
        request.close_connection = True
    with contextlib.suppress(OSError):
        request.wfile.write(body)

# SPDX-License-Identifier: Apache-2.0
"""Files from servers of HTTP, by the standard library: what is there, and its bytes from any place on."""

from __future__ import annotations

import base64
import binascii
import contextlib
import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from email.message import Message
from typing import Any

from fireforge.data.remote.address import credentials
from fireforge.data.remote.source import PIECE_BYTES, Changed, Facts, NotReached

TIMEOUT_S = 30.0  # without a byte
ASK_BY_GET = (403, 405, 501)  # what servers answer to HEAD where a link is signed for GET alone
PLACE = re.compile(r"bytes\s+([0-9]+)-[0-9]+/([0-9]+|\*)")
Reply = Any  # http.client.HTTPResponse, or what urllib wraps it in


class HttpSource:
    """Files by http:// and https://; a `fireforge.data.remote.source.Source`.

    Redirects are followed to HTTP alone, and a password goes to the server that it was given for. Proxies are those of
    the environment.
    """

    def __init__(self) -> None:
        self._opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler,
            urllib.request.HTTPHandler,
            urllib.request.HTTPSHandler,
            urllib.request.HTTPRedirectHandler,
            urllib.request.HTTPDefaultErrorHandler,
            urllib.request.HTTPErrorProcessor,
        ):
            self._opener.add_handler(handler())

    def facts(self, url: str) -> Facts:
        """What the server says of a file: one HEAD; where that is refused, the head of a GET; see `Source`."""
        try:
            with self._ask(url, "HEAD", {}) as reply:
                return _facts(reply.headers, _length(reply.headers))
        except NotReached as error:
            if error.status not in ASK_BY_GET:
                raise
        with self._ask(url, "GET", {"Range": "bytes=0-0"}) as reply:
            match = PLACE.match(reply.headers.get("Content-Range", ""))
            if reply.status == 206 and match is not None:
                return _facts(reply.headers, int(match[2]) if match[2] != "*" else -1)
            return _facts(reply.headers, _length(reply.headers))

    def pieces(self, url: str, at: int, facts: Facts) -> tuple[int, Iterator[bytes]]:
        """The bytes of a file, from a place on only if it is the same still; see `Source`."""
        same = facts.tag if facts.tag and not facts.tag.startswith("W/") else facts.changed
        asked = {"Range": f"bytes={at}-", "If-Range": same} if at and same else {}
        reply = self._ask(url, "GET", asked)
        match = PLACE.match(reply.headers.get("Content-Range", ""))
        begun = int(match[1]) if reply.status == 206 and match is not None else 0
        if begun not in (0, at) or (reply.status == 206 and match is None):
            reply.close()
            raise NotReached("the server sent another part than the one that it was asked for", status=reply.status)
        for known, name in ((facts.tag, "ETag"), (facts.changed, "Last-Modified")):
            if known and reply.headers.get(name, known) != known:
                reply.close()
                raise Changed
        return begun, _read(reply)

    def listing(self, url: str) -> list[tuple[str, str, Facts]] | None:
        """None: HTTP lists no folders; see `Source`."""
        return None

    def _ask(self, url: str, method: str, headers: Mapping[str, str]) -> Reply:
        bare, user, word = credentials(url)
        try:
            request = urllib.request.Request(bare, method=method, headers={"Accept-Encoding": "identity", **headers})
            request.add_header("User-Agent", "fireforge")
            if user:
                told = base64.b64encode(f"{user}:{word}".encode()).decode("ascii")
                request.add_unredirected_header("Authorization", f"Basic {told}")
            return self._opener.open(request, timeout=TIMEOUT_S)
        except urllib.error.HTTPError as error:
            with contextlib.suppress(OSError):
                error.close()
            what = f"the server answered {error.code} {_plain(http.client.responses.get(error.code, ''))}".rstrip()
            raise NotReached(what, status=error.code) from None
        except urllib.error.URLError as error:
            raise NotReached(f"the server cannot be reached: {_reason(error.reason)}") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            status = 400 if isinstance(error, ValueError | http.client.InvalidURL) else 0
            raise NotReached(f"the server cannot be reached: {_reason(error)}", status=status) from None


def _read(reply: Reply) -> Iterator[bytes]:
    """The body of a reply, to its end or to where it was cut."""
    with reply:
        while True:
            try:
                piece = reply.read(PIECE_BYTES)
            except (OSError, http.client.HTTPException) as error:
                raise NotReached(f"the transfer was cut: {_reason(error)}") from None
            if not piece:
                if reply.length:
                    raise NotReached(f"the transfer was cut {reply.length:,} bytes before its end")
                return
            yield piece


def _facts(headers: Message, size: int) -> Facts:
    return Facts(
        size=size,
        tag=headers.get("ETag", ""),
        changed=headers.get("Last-Modified", ""),
        md5=_md5(headers),
    )


def _length(headers: Message) -> int:
    text = headers.get("Content-Length", "")
    return int(text) if text.isascii() and text.isdecimal() else -1


def _md5(headers: Message) -> str:
    """The MD5 of the whole file where a server gives it; that of a part is none."""
    told = [headers.get("Content-MD5", ""), *re.findall(r"md5=([A-Za-z0-9+/=]+)", headers.get("x-goog-hash", ""))]
    for text in told if "Content-Range" not in headers else told[1:]:
        with contextlib.suppress(binascii.Error, ValueError):
            raw = base64.b64decode(text, validate=True)
            if len(raw) == 16:
                return raw.hex()
    return ""


def _reason(error: object) -> str:
    """Why, without an address in it."""
    if isinstance(error, OSError) and error.strerror:
        return _plain(error.strerror)
    return _plain(type(error).__name__ if isinstance(error, Exception) else str(error))


def _plain(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)[:100]

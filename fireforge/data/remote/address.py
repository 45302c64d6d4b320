# SPDX-License-Identifier: Apache-2.0
"""URLs as text: what one is, how it may be shown, and by what its copy is known."""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*::)*[A-Za-z][A-Za-z0-9+.-]+://")
CHAIN = re.compile(r"::(?=(?:[A-Za-z][A-Za-z0-9+.-]*::)*[A-Za-z][A-Za-z0-9+.-]+://)")  # between URLs within each other
LOCAL = ("file", "local")
SIGNING = re.compile(  # parts of a query that sign a request and change with the hour
    r"x-amz-.*|x-goog-.*|awsaccesskeyid|googleaccessid|signature|expires|key-pair-id|policy|sig|se|sp|sv|sr|st|spr|sip|"
    r"skoid|sktid|skt|ske|sks|skv",
    re.IGNORECASE,
)
SECRET = re.compile(  # parts of a query that may be a key to the data, or may choose it
    r"(.*[-_.])?(key|pass|pwd|auth|authorization|credentials?|sas|hmac|jwt|session|code)|(api|access|secret|private|auth)key|"
    r".*(token|secret|passw).*",
    re.IGNORECASE,
)
SAFE = "/%:@!$&'()*+,;=?~-._"  # what a path and a query keep as it is when they are sent
MOST_LETTERS = 120  # of a file's name in the cache
KEPT = re.compile(r"[^A-Za-z0-9._-]+")


def is_address(text: str) -> bool:
    """Whether a text is a URL rather than a path or a name."""
    return ADDRESS.match(text) is not None


def scheme_of(url: str) -> str:
    """The part of a URL before "://", in lower case."""
    return url.partition("://")[0].lower()


def local_path(url: str) -> str:
    """The path that a file:// URL names; a "%20" in it is a space where no file has it in its name."""
    path = url.partition("://")[2]
    path = path.removeprefix("localhost") if path.startswith("localhost/") else path
    return path if os.path.exists(path) else unquote(path)


def public(url: str) -> str:
    """A URL without user, password, signatures, keys and fragment, as it may be shown and written down.

    Args:
      url: as the user gave it.

    Returns:
      The URL.
    """
    return _without(url, secret=True)


def shown(source: str) -> str:
    """What a user named, as it may be shown and written down: a URL without its secrets, anything else as it is."""
    return public(source) if is_address(source) else source


def identity(url: str) -> str:
    """By what the copy of a URL's data is known, 24 hex digits: the same for every signature of the same thing."""
    return hashlib.sha256(_without(url, secret=False).encode("utf-8", "surrogateescape")).hexdigest()[:24]


def file_name(url: str) -> str:
    """The name of a URL's file as it stands in the cache: the last part of its path, in plain letters.

    Args:
      url: of a file.

    Returns:
      At most 120 letters, digits, dots and dashes.
    """
    last = posixpath.basename(unquote(_split(url)[2]).rstrip("/"))
    return plain_name(last)


def plain_name(name: str) -> str:
    """A name in letters that every file system takes; never hidden and never empty."""
    kept = KEPT.sub("_", name)[-MOST_LETTERS:].lstrip(".")
    return kept or "data"


def credentials(url: str) -> tuple[str, str, str]:
    """A URL of HTTP as it is sent, without user and password; and these, decoded, "" where there are none."""
    scheme, place, path, query = _split(url)
    user, at, host = place.rpartition("@")
    name, _, word = user.partition(":")
    sent = _joined(
        scheme, host if at else place, quote(path, SAFE, errors="replace"), quote(query, SAFE, errors="replace")
    )
    return sent, unquote(name), unquote(word)


def _without(url: str, *, secret: bool) -> str:
    return "::".join(_one_without(part, secret) if "://" in part else part for part in CHAIN.split(url))


def _one_without(url: str, secret: bool) -> str:
    scheme, place, path, query = _split(url)
    pairs = parse_qsl(query, keep_blank_values=True)
    kept = [pair for pair in pairs if not SIGNING.fullmatch(pair[0]) and not (secret and SECRET.fullmatch(pair[0]))]
    same = len(kept) == len(pairs)
    return _joined(scheme, place.rpartition("@")[2], path, query if same else urlencode(kept, errors="replace"))


def _joined(scheme: str, place: str, path: str, query: str) -> str:
    return f"{scheme}://{place}{path}" + (f"?{query}" if query else "")


def _split(url: str) -> tuple[str, str, str, str]:
    """Scheme, host with user, path and query."""
    try:
        found = urlsplit(url)
    except ValueError:  # brackets that are no address of a host
        scheme, _, rest = url.partition("://")
        place, slash, path = rest.partition("/")
        return scheme, place, slash + path.partition("?")[0].partition("#")[0], ""
    return found.scheme, found.netloc, found.path, found.query

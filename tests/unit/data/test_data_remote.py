# SPDX-License-Identifier: Apache-2.0
"""Data by URL from real servers of HTTP on loopback: fetched once, whole, and by no more requests than needed."""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
from pathlib import Path

import pytest
from loopback import Site, served
from opening import refused
from source_files import keyed, png, tar

from fireforge.base.errors import FireforgeError
from fireforge.base.progress import Update
from fireforge.base.trial import DataRef
from fireforge.data.open import open_dataset, open_ref
from fireforge.data.remote import http as http_module
from fireforge.data.remote import transfer
from fireforge.data.remote.address import file_name, identity, public, shown
from fireforge.data.remote.fetch import fetch

DATA = tar({f"{label}/{i}.png": png(i) for label in ("a", "b") for i in range(4)})


@pytest.fixture(autouse=True)
def _quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of the test's own, and no pauses between tries."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(transfer, "PAUSES_S", (0.0, 0.0, 0.0))


def site(**how: object) -> Site:
    return Site({"/d/x.tar": DATA, "/large": bytes(range(256)) * 4096}, **how)  # type: ignore[arg-type]


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_second_open_makes_one_head_and_fetches_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(DATA)
    with served(site()) as server:
        url = f"{server.url}/d/x.tar"
        dataset = open_dataset(url)
        assert server.methods() == ["HEAD", "GET"]
        assert (dataset.source, dataset.format) == (url, "archive")
        assert dataset.sha256 == open_dataset(tmp_path / "x.tar").sha256
        assert open_ref(DataRef(source=url, sha256=dataset.sha256)).sha256 == dataset.sha256
        assert server.methods() == ["HEAD"]
    assert files_in(tmp_path / "cache") == [".lock", "known.json", "x.tar"]
    assert dataset.where(0) == f"{url}/a/0.png"


def test_another_version_is_fetched(tmp_path: Path) -> None:
    with served(site()) as server:
        url = f"{server.url}/d/x.tar"
        first = open_dataset(url)
        server.files["/d/x.tar"] = tar({f"{label}/{i}.png": png(i + 9) for label in ("a", "b") for i in range(4)})
        second = open_dataset(url)
        assert server.methods() == ["HEAD", "GET"] * 2
        assert first.sha256 != second.sha256
        assert first.read(0) == png(0)  # the old copy stays for those who read it
        server.tags = server.times = False  # nothing tells a version: fetched anew each time
        assert open_dataset(url).sha256 == open_dataset(url).sha256 == second.sha256
        assert server.methods() == ["HEAD", "GET"] * 2


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("tags", [True, False])
def test_a_transfer_that_is_cut_goes_on_or_begins_anew(ranges: bool, tags: bool) -> None:
    with served(site(ranges=ranges, tags=tags, cuts=[100_000, 300_000])) as server:
        fetched = fetch(f"{server.url}/large")
        assert fetched.path.read_bytes() == server.files["/large"]
        assert (
            [asked for method, _, asked in server.log if method == "GET"] == ["", "bytes=100000-", "bytes=400000-"]
            if ranges
            else True
        )
        assert files_in(fetched.path.parent) == ["large"]


def test_a_cut_that_lasts_is_told_and_the_next_command_goes_on() -> None:
    with served(site(cuts=[250_000, 0, 0, 0])) as server:
        error = refused(f"{server.url}/large")
        assert (error.code, int(error.exit_code)) == ("NO_DATA", 3)
        assert "cut" in error.what
        server.log.clear()
        assert fetch(f"{server.url}/large").path.read_bytes() == server.files["/large"]
        assert server.log[-1][2] == "bytes=250000-"


def test_a_part_from_before_the_machine_went_down_is_not_trusted() -> None:
    with served(site(cuts=[250_000, 0, 0, 0])) as server:
        refused(f"{server.url}/large")
        part = next(Path(os.environ["XDG_CACHE_HOME"]).rglob("*.part"))
        os.utime(part, (1, 1))
        server.log.clear()
        assert fetch(f"{server.url}/large").path.read_bytes() == server.files["/large"]
        assert server.log[-1][2] == ""


@pytest.mark.parametrize("tags", [True, False])
def test_what_changes_between_two_goes_is_not_glued_together(tags: bool) -> None:
    with served(site(cuts=[1000], tags=tags)) as server:
        refused_once = False
        url = f"{server.url}/large"
        old = server.files["/large"]

        def swap(update: Update) -> None:
            server.files["/large"] = old[::-1]

        try:
            fetch(url, progress=swap)
        except FireforgeError as error:
            refused_once = error.code == "DATA_CHANGED"
        assert refused_once
        assert fetch(url).path.read_bytes() == old[::-1]


@pytest.mark.parametrize("status, exit_code", [(404, 2), (410, 2), (401, 2), (403, 2), (500, 3), (503, 3), (429, 3)])
def test_errors_of_a_server_are_told_with_their_status(status: int, exit_code: int) -> None:
    with served(site(status=status)) as server:
        error = refused(f"{server.url}/d/x.tar")
        assert (error.code, int(error.exit_code), str(status) in error.what) == ("NO_DATA", exit_code, True)


def test_without_an_answer_the_exit_code_is_that_of_the_environment() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        error = refused(f"http://127.0.0.1:{free.getsockname()[1]}/x.tar")
    assert (error.code, int(error.exit_code)) == ("NO_DATA", 3)
    for url in (
        "http:///x.tar",
        "http://127.0.0.1:99999999/x",
        "http://[::1/x",
        "http://exa mple/x",
        "http://a::b/x",
        "nix://a/b",
    ):
        assert refused(url).code == "NO_DATA"


@pytest.mark.parametrize("status", [0, 500, 401, 403])
def test_offline_a_copy_of_before_serves_with_a_note(status: int) -> None:
    told: list[Update] = []
    with served(site()) as server:
        url = f"{server.url}/d/x.tar"
        before = open_dataset(url).sha256
        server.status = status
        if status:
            dataset = open_dataset(url, progress=told.append)
    if not status:
        dataset = open_dataset(url, progress=told.append)
    assert dataset.sha256 == before
    assert dataset.ledger()["notes"] == {"URL_OFFLINE": 1}
    assert "copy of an earlier time" in told[-1].note
    path = next((Path(os.environ["XDG_CACHE_HOME"])).rglob("x.tar"))
    path.write_bytes(DATA[:-1])  # a copy that is not whole is none
    assert refused(url).code == "NO_DATA"


def test_what_is_gone_is_not_served_from_the_cache() -> None:
    with served(site()) as server:
        url = f"{server.url}/d/x.tar"
        open_dataset(url)
        del server.files["/d/x.tar"]
        assert "404" in refused(url).what


def test_slow_servers_are_waited_for_and_silent_ones_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with served(site(pause_s=0.2)) as server:
        assert len(open_dataset(f"{server.url}/d/x.tar").samples) == 8
        server.pause_s = 5
        monkeypatch.setattr(http_module, "TIMEOUT_S", 0.05)
        error = refused(f"{server.url}/large")
        assert (error.code, int(error.exit_code)) == ("NO_DATA", 3)


@pytest.mark.parametrize("status", [403, 405, 501])
def test_a_link_that_is_signed_for_get_alone_is_asked_by_get(status: int) -> None:
    for ranges in (True, False):
        with served(site(no_head=status, ranges=ranges)) as server:
            assert len(open_dataset(f"{server.url}/d/x.tar").samples) == 8


def test_secrets_are_sent_and_never_shown(tmp_path: Path) -> None:
    with served(site(password="me:pass")) as server:
        host = server.url.removeprefix("http://")
        url = f"http://me:pa%3Ass@{host}/d/x.tar?v=1&X-Amz-Signature=abc&X-Amz-Date=now&token=hidden&sig=s#frag"
        dataset = open_dataset(url)
        assert dataset.source == f"{server.url}/d/x.tar?v=1"
        assert server.log[0][1] == "/d/x.tar?v=1&X-Amz-Signature=abc&X-Amz-Date=now&token=hidden&sig=s"
        server.log.clear()
        open_dataset(url.replace("abc", "def"))  # signed anew, the same thing
        assert server.methods() == ["HEAD"]
        assert open_dataset(dataset.source.replace("?v=1", "?v=1&token=hidden")).ledger()["notes"] == {"URL_OFFLINE": 1}
        error = refused(f"http://me:other@{host}/nix?token=hidden&password=hidden2")
    for text in (error.line(), *(path.read_text() for path in tmp_path.rglob("known.json"))):
        assert not any(secret in text for secret in ("pass@", "abc", "hidden", "other", "me:"))


def test_a_password_does_not_follow_a_redirect() -> None:
    with served(site(password="me:pass")) as other, served(site()) as server:
        server.moved = {"/there": f"{other.url}/d/x.tar", "/here": "/d/x.tar", "/file": "file:///etc/passwd"}
        host = server.url.removeprefix("http://")
        assert "401" in refused(f"http://me:pass@{host}/there").what
        assert len(open_dataset(f"{server.url}/here").samples) == 8
        assert refused(f"{server.url}/file").code == "NO_DATA"


def test_a_digest_that_the_server_gives_is_held_to() -> None:
    with served(site(headers={"x-goog-hash": "crc32c=AAAAAA==,md5=AAAAAAAAAAAAAAAAAAAAAA=="})) as server:
        error = refused(f"{server.url}/d/x.tar")
        assert (error.code, "MD5" in error.what, int(error.exit_code)) == ("NO_DATA", True, 3)
        assert server.methods() == ["HEAD", "GET", "GET"]
        assert not list(Path(os.environ["XDG_CACHE_HOME"]).rglob("x.tar"))


def test_braces_are_a_folder_of_shards(tmp_path: Path) -> None:
    files = {f"/train-{i:03d}.tar": tar(keyed(range(4 * i, 4 * i + 4))) for i in range(3)}
    for name, data in files.items():
        (tmp_path / name[1:]).write_bytes(data)
    with served(Site(files)) as server:
        url = f"{server.url}/train-{{000..002}}.tar"
        dataset = open_dataset(url)
        assert sorted(server.methods()) == ["GET"] * 3 + ["HEAD"] * 3
        assert (dataset.source, dataset.sha256) == (url, open_dataset(f"{tmp_path}/train-{{000..002}}.tar").sha256)
        assert "404" in refused(f"{server.url}/train-{{000..003}}.tar").what


def test_pages_and_files_of_no_format_are_named(tmp_path: Path) -> None:
    with served(Site({"/p": b"<!DOCTYPE html><html>", "/q": b"hello", "/cut.tar": DATA[:3000]})) as server:
        assert "web page" in refused(f"{server.url}/p").do
        assert refused(f"{server.url}/q").where == f"{server.url}/q"
        error = refused(f"{server.url}/cut.tar")
        assert (error.code, error.where) == ("ARC_TRUNCATED", f"{server.url}/cut.tar")
        assert str(tmp_path) not in error.line()


def test_progress_tells_how_much_is_there() -> None:
    told: list[Update] = []
    with served(site(cuts=[500_000])) as server:
        fetch(f"{server.url}/large", progress=told.append)
    assert {update.stage for update in told} == {"fetch"}
    assert (told[-1].done, told[-1].total, told[-1].unit) == (1.05, 1.05, "MB")


def test_processes_that_want_the_same_fetch_it_once() -> None:
    with served(site(pause_s=0.3)) as server:
        with multiprocessing.get_context("fork").Pool(3) as pool:
            found = pool.map(_digest, [f"{server.url}/d/x.tar"] * 3)
        assert len(set(found)) == 1
        assert server.methods().count("GET") == 1


def _digest(url: str) -> str:
    return open_dataset(url).sha256


def test_no_room_is_told_before_anything_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with served(site()) as server:
        error = refused(f"{server.url}/large")
        assert (error.code, int(error.exit_code)) == ("CANNOT_WRITE", 3)
        assert server.methods() == ["HEAD"]


def test_file_urls_are_the_path_itself(tmp_path: Path) -> None:
    path = tmp_path / "a b.tar"
    path.write_bytes(DATA)
    for url in (f"file://{path}", f"file://localhost{path}", f"file://{str(path).replace(' ', '%20')}"):
        assert open_dataset(url).source == str(path)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("damage", ["", "[]", "{}", '{"url": "", "version": "..", "files": {"a": 1}}', "\xff"])
def test_a_damaged_note_in_the_cache_is_no_copy(damage: str) -> None:
    with served(site()) as server:
        url = f"{server.url}/d/x.tar"
        open_dataset(url)
        note = next(Path(os.environ["XDG_CACHE_HOME"]).rglob("known.json"))
        assert json.loads(note.read_text())["url"] == url
        note.write_text(damage)
        assert len(open_dataset(url).samples) == 8


def test_names_with_spaces_and_other_letters_are_sent() -> None:
    with served(Site({"/a%20b/%C3%A4%25.tar": DATA})) as server:
        for name in ("a b/ä%25.tar", "a%20b/%C3%A4%25.tar"):
            assert len(open_dataset(f"{server.url}/{name}").samples) == 8


def test_urls_as_text() -> None:
    assert public("https://h/a?keyword=cats&apikey=x&access_key=y&my-token=z") == "https://h/a?keyword=cats"
    assert public("https://u:p@h:8/a/b.tar?id=3&Expires=9&api_key=k#t") == "https://h:8/a/b.tar?id=3"
    assert public("s3://KEY:SECRET@bucket/a{0..3}.tar") == "s3://bucket/a{0..3}.tar"
    assert public("https://h/a?b=%20c") == "https://h/a?b=%20c"  # nothing to hide: left as it was
    assert identity("https://h/a?sig=1&v=2") == identity("https://u@h/a?sig=3&v=2") != identity("https://h/a?sig=1&v=3")
    assert identity("https://h/a?key=a.tar") != identity("https://h/a?key=b.tar")  # may choose the thing
    assert [
        file_name(f"https://h{path}")
        for path in ("/a/b%20c.tar?x=/y", "/", "", "/..", "/.hidden", "/" + "x" * 300 + ".npz")
    ] == [
        "b_c.tar",
        "data",
        "data",
        "data",
        "hidden",
        "x" * 116 + ".npz",
    ]


def test_what_a_record_names_is_found_without_the_key_of_its_url() -> None:
    """Reference: a record keeps `public(url)`; the server wants the key, or is gone."""
    with served(site()) as server:
        url = f"{server.url}/d/x.tar?token=SEKRET"
        server.files["/d/x.tar?token=SEKRET"] = DATA
        first = open_dataset(url)
        assert first.source == f"{server.url}/d/x.tar"
        server.status = 401
        again = open_ref(DataRef(source=first.source, sha256=first.sha256))
        assert [(note.name, note.code) for note in again.notes] == [(first.source, "URL_OFFLINE")]
        server.status = 404  # an answer, and it is no
        assert refused(first.source).code == "NO_DATA"
    assert open_ref(DataRef(source=first.source, sha256=first.sha256)).sha256 == first.sha256
    last = next(Path(os.environ["XDG_CACHE_HOME"]).rglob("last.json"))
    assert json.loads(last.read_text()) == {"last": identity(url)}
    assert "SEKRET" not in last.read_text()
    last.write_text('{"last": "../../.."}')
    assert refused(first.source).code == "NO_DATA"


@pytest.mark.parametrize(
    "url, shown_as",
    [
        ("zip://x::http://bob:s3cret@h/x", "zip://x::http://h/x"),
        ("simplecache::http://bob:s3cret@h/x?token=s3cret&a=1", "simplecache::http://h/x?a=1"),
        ("zip://x?sas=s3cret::blockcache::https://h/x?hmac=s3cret", "zip://x::blockcache::https://h/x"),
        ("http://[::1]:80/x::y", "http://[::1]:80/x::y"),
    ],
)
def test_no_part_of_a_chained_url_shows_a_password(url: str, shown_as: str) -> None:
    assert (shown(url), public(url)) == (shown_as, shown_as)
    if "s3cret" in url:
        assert "s3cret" not in refused(url).line()


def test_a_cache_that_cannot_be_written_says_how_it_is_moved(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with served(site()) as server:
        error = refused(f"{server.url}/d/x.tar")
    assert (error.code, int(error.exit_code), "XDG_CACHE_HOME" in error.do) == ("CANNOT_WRITE", 3, True)

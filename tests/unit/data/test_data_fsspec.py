# SPDX-License-Identifier: Apache-2.0
"""Data by fsspec's URLs: its file system in memory, and a real server that speaks S3 on loopback."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opening import refused
from source_files import keyed, parquet_of, png, tar

from fireforge.data.open import open_dataset
from fireforge.data.remote import filesystem, transfer

fsspec = pytest.importorskip("fsspec")


@pytest.fixture(autouse=True)
def _quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(transfer, "PAUSES_S", (0.0, 0.0, 0.0))


@pytest.fixture
def memory() -> Iterator[Any]:
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


def class_folders() -> dict[str, bytes]:
    return {f"{part}/{label}/{i}.png": png(i) for part in ("train", "val") for label in ("a", "b") for i in range(4)}


def test_files_and_folders_of_a_file_system(tmp_path: Path, memory: Any) -> None:
    for name, data in class_folders().items():
        memory.pipe(f"/photos/{name}", data)
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(data)
    memory.pipe("/photos.tar", tar(class_folders()))
    here = open_dataset(tmp_path / "photos")
    for url in ("memory://photos", "memory://photos/", "memory:///photos.tar"):
        dataset = open_dataset(url)
        assert (dataset.source, dataset.sha256) == (url, here.sha256)
    asked = [open_dataset("memory://photos").sha256 for _ in range(2)]
    assert set(asked) == {here.sha256}


def test_a_file_that_is_added_makes_another_version(memory: Any) -> None:
    memory.pipe("/p/a/0.png", png(0))
    memory.pipe("/p/b/0.png", png(1))
    assert len(open_dataset("memory://p").samples) == 2
    memory.pipe("/p/b/1.png", png(2))
    assert len(open_dataset("memory://p").samples) == 3


def test_names_that_lead_out_of_the_folder_are_refused(tmp_path: Path, memory: Any) -> None:
    memory.pipe("/p/a/0.png", png(0))
    memory.store["/p/a/../../../../out.png"] = memory.store["/p/a/0.png"]
    error = refused("memory://p")
    assert (error.code, ".." in error.what) == ("NO_DATA", True)
    assert not list(tmp_path.rglob("out.png"))


def test_what_is_not_there_and_what_is_not_known() -> None:
    assert ("404", 2) != (refused("memory://nix").code, int(refused("memory://nix").exit_code)) == ("NO_DATA", 2)
    assert "nothing is there" in refused("memory://nix/x.tar").what
    assert refused("nix://a/b").code == "NO_DATA"
    assert refused("zip://a.png::memory://x.zip").code == "NO_DATA"


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    error = refused("s3://bucket/x.tar")
    assert (error.code, error.do, int(error.exit_code)) == ("NO_PACKAGE", "pip install s3fs", 3)
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    assert refused("memory://x").do == 'pip install "fireforge[sources]"'


def test_a_file_system_that_fails_is_told_and_its_copy_serves(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    memory.pipe("/x.tar", tar(class_folders()))
    before = open_dataset("memory:///x.tar").sha256
    kind = type(memory)
    for error, offline in (
        (RuntimeError("https://u:p@h"), True),
        (PermissionError(), True),
        (FileNotFoundError(), False),
    ):
        monkeypatch.setattr(kind, "info", _failing(error))
        if offline:
            assert open_dataset("memory:///x.tar").sha256 == before
        told = refused("memory:///other.tar")
        assert (told.code, "u:p" in told.line()) == ("NO_DATA", False)
        assert int(told.exit_code) == (3 if isinstance(error, RuntimeError) else 2)


def test_a_file_that_is_shorter_than_it_should_be_is_told(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    memory.pipe("/x.tar", tar(class_folders()))
    monkeypatch.setattr(type(memory), "cat_file", lambda *_, start, **__: b"x" * 100 if start < 500 else b"")
    error = refused("memory:///x.tar")
    assert (error.code, int(error.exit_code), "500 of" in error.what) == ("NO_DATA", 3, True)


def test_blocks_of_two_files_are_not_glued_together(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystem, "BLOCK_BYTES", 1000)
    whole = tar(class_folders())
    memory.pipe("/x.tar", whole)
    read, turns = type(memory).cat_file, []

    def read_and_write(self: Any, path: str, **how: Any) -> bytes:
        found: bytes = read(self, path, **how)
        turns.append(1)
        if len(turns) == 3:
            memory.pipe("/x.tar", whole[::-1])
        return found

    monkeypatch.setattr(type(memory), "cat_file", read_and_write)
    assert refused("memory:///x.tar").code == "DATA_CHANGED"
    memory.pipe("/x.tar", whole)
    assert len(open_dataset("memory:///x.tar").samples) == 16


def _failing(error: Exception) -> Any:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    pytest.importorskip("s3fs")
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "key-of-mine",
            "AWS_SECRET_ACCESS_KEY": "secret-of-mine",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            patch.setenv(name, value)
        import boto3

        client = boto3.client("s3")
        client.create_bucket(Bucket="pictures")
        yield client
    server.stop()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of botocore and the server, which are not ours
def test_a_server_that_speaks_s3(tmp_path: Path, s3: Any) -> None:
    for name, data in class_folders().items():
        s3.put_object(Bucket="pictures", Key=f"photos/{name}", Body=data)
    s3.put_object(Bucket="pictures", Key="photos.tar", Body=tar(class_folders()))
    digests = {open_dataset(url).sha256 for url in ("s3://pictures/photos", "s3://pictures/photos.tar")}
    assert len(digests) == 1
    for i in range(2):
        s3.put_object(Bucket="pictures", Key=f"s/train-{i:03d}.tar", Body=tar(keyed(range(4 * i, 4 * i + 4))))
    for url in ("s3://pictures/s/train-{000..001}.tar", "s3://pictures/s/"):
        assert len(open_dataset(url).samples) == 8
    cells = [{"bytes": png(i), "label": i % 2} for i in range(9)]
    s3.put_object(Bucket="pictures", Key="p.parquet", Body=parquet_of(tmp_path / "p", cells).read_bytes())
    assert open_dataset("s3://pictures/p.parquet").labels == ("cat", "dog")
    for url in ("s3://pictures/nix.tar", "s3://nobody/x.tar"):
        assert (refused(url).code, int(refused(url).exit_code)) == ("NO_DATA", 2)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_versions_digests_and_being_offline_on_s3(tmp_path: Path, s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tar({f"{label}/{i}.png": png(i) + bytes(2**20) for label in ("a", "b") for i in range(6)})
    s3.put_object(Bucket="pictures", Key="big.tar", Body=whole)
    first = open_dataset("s3://pictures/big.tar")
    path = next((tmp_path / "cache").rglob("big.tar"))
    assert path.read_bytes() == whole  # 12 MiB: two blocks
    s3.put_object(Bucket="pictures", Key="big.tar", Body=tar(class_folders()))
    assert open_dataset("s3://pictures/big.tar").sha256 != first.sha256
    upload = s3.create_multipart_upload(Bucket="pictures", Key="parts.tar")["UploadId"]  # whose ETag is no MD5
    sent = []
    for number, data in enumerate((whole[: 6 * 2**20], whole[6 * 2**20 :]), start=1):
        place = {"Bucket": "pictures", "Key": "parts.tar", "UploadId": upload, "PartNumber": number}
        sent.append({"PartNumber": number, "ETag": s3.upload_part(Body=data, **place)["ETag"]})
    s3.complete_multipart_upload(Bucket="pictures", Key="parts.tar", UploadId=upload, MultipartUpload={"Parts": sent})
    assert open_dataset("s3://pictures/parts.tar").sha256 == first.sha256
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert open_dataset("s3://pictures/parts.tar").ledger()["notes"] == {"URL_OFFLINE": 1}
    error = refused("s3://pictures/photos.tar")
    assert (error.code, int(error.exit_code)) == ("NO_DATA", 3)
    assert "of-mine" not in error.line()


def test_a_source_that_connects_at_once_has_its_earlier_copy(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Like ftp:// and sftp://, which connect in their constructors."""
    from fsspec.implementations.memory import MemoryFileSystem

    said: list[Exception] = []

    class Flaky(MemoryFileSystem):  # type: ignore[misc]
        protocol = "flaky"

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            return str(MemoryFileSystem._strip_protocol(path.replace("flaky://", "memory://")))

        def __init__(self, *args: Any, **how: Any) -> None:
            if said:
                raise said[0]
            super().__init__(*args, **how)

    fsspec.register_implementation("flaky", Flaky, clobber=True)
    memory.pipe("/x.tar", tar(class_folders()))
    first = open_dataset("flaky://x.tar")
    for error in (ConnectionRefusedError(111, "Connection refused"), RuntimeError("of a library")):
        said[:] = [error]
        again = open_dataset("flaky://x.tar")
        assert (again.sha256, [note.code for note in again.notes]) == (first.sha256, ["URL_OFFLINE"])
        lost = refused("flaky://y.tar")
        assert (lost.code, int(lost.exit_code), "cannot be reached" in lost.what) == ("NO_DATA", 3, True)


@pytest.mark.parametrize("url", ["github://x", "reference://x", "dir://x"])
def test_a_file_system_that_needs_more_is_told(url: str) -> None:
    error = refused(url)
    assert (error.code, int(error.exit_code), "needs more than a URL" in error.what) == ("NO_DATA", 2, True)

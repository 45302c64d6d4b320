# SPDX-License-Identifier: Apache-2.0
"""What jobs keep of a URL: never its secrets; and what they refuse of one before anything is loaded."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from loopback import Site, served
from source_files import keyed, tar

from fireforge.base.budget import Budget
from fireforge.base.errors import FireforgeError
from fireforge.base.settings import Wish
from fireforge.jobs.begin import command_line
from fireforge.jobs.border import check
from fireforge.jobs.folder import default_folder
from fireforge.jobs.pack import pack
from fireforge.jobs.scene import look

DATA = tar(keyed(range(60)))


def test_the_command_is_kept_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    typed = ["fireforge", "build", "https://me:word@host/a.tar?id=1&X-Amz-Signature=abc", "--out", "a b"]
    monkeypatch.setattr(sys, "argv", typed)
    assert command_line() == "fireforge build 'https://host/a.tar?id=1' --out 'a b'"
    assert default_folder("https://me:word@host/d/photos.tar?id=1") == Path("runs/photos")
    assert default_folder("d/photos.tar") == Path("runs/photos")


def test_a_url_that_gives_nothing_is_refused_at_the_border(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with served(Site({"/a.tar": DATA})) as server:
        with pytest.raises(FireforgeError, match="404"):
            check(f"{server.url}/nix.tar", budget=Budget(seconds=60), wish=Wish(), folder=tmp_path / "run")
        check(f"{server.url}/a.tar", budget=Budget(seconds=60), wish=Wish(), folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_scene_and_a_packed_file_of_a_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with served(Site({"/a.tar": DATA}, password="me:word")) as server:
        url = server.url.replace("://", "://me:word@") + "/a.tar"
        scene = look(url, seed=0)
        assert scene.ref.source == scene.dataset.source == f"{server.url}/a.tar"
        lines = pack(url, tmp_path / "a.npz")
    assert "train" in lines[0]

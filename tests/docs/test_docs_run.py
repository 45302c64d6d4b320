# SPDX-License-Identifier: Apache-2.0
"""What the pages say is so: their Python runs, their commands parse, their links lead somewhere."""

from __future__ import annotations

import multiprocessing
import multiprocessing.context
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import typer.main
from PIL import Image

from fireforge.base.files import write_json
from fireforge.base.settings import Settings
from fireforge.cli.app import app
from fireforge.data.open import open_dataset
from fireforge.jobs.export import export
from fireforge.jobs.train import train

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = getattr(typer.main.get_command(app), "commands")  # noqa: B009
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


START = """
import os, sys, warnings
os.chdir({folder!r})
sys.stdout = sys.stderr = open("told.txt", "w", buffering=1)
assert "fireforge" not in sys.modules  # a page imports what it uses
warnings.simplefilter("error")
"""


def page_name(page: Path) -> str:
    return page.name


def blocks(page: Path, *languages: str) -> Iterator[tuple[int, str]]:
    """Line number and text of each fenced block of these languages."""
    text = page.read_text()
    for found in BLOCK.finditer(text):
        if found[1] in languages:
            yield text[: found.start(2)].count("\n") + 1, found[2]


def commands(page: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and words of each fireforge command in shell blocks."""
    for first, text in blocks(page, "bash", "console"):
        for number, line in enumerate(text.splitlines(), first):
            for part in line.removeprefix("$ ").split("&&"):
                words = shlex.split(part, comments=True)
                if words[:1] == ["fireforge"]:
                    yield number, words[1:]


def slugs(page: Path) -> set[str]:
    """Anchors of the page's headings."""
    heads = re.findall(r"^#+ (.+)$", BLOCK.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", head).strip().lower()) for head in heads}


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the pages' commands leave it: runs/digits with an answer (a quick one here), and digit.png."""
    folder = tmp_path_factory.mktemp("site")
    train("digits", Settings(epochs=2, device="cpu"), out=folder / "runs" / "digits")
    written = export(folder / "runs" / "digits", form="int8")
    write_json(folder / "runs" / "digits" / "result.json", {"model": {"path": Path(written.path).name}})
    digit = open_dataset("digits").read(0)
    assert isinstance(digit, np.ndarray)
    Image.fromarray(digit).save(folder / "digit.png")
    Image.fromarray(digit).save(folder / "picture.png")
    return folder


@pytest.fixture(scope="module")
def processes() -> Iterator[multiprocessing.context.ForkServerContext]:
    """Fresh processes that have torch, which takes most of their time, and nothing of fireforge."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "torch._dynamo"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("PYTHONPATH", str(ROOT))
        yield context


@pytest.mark.parametrize("page", [p for p in PAGES if list(blocks(p, "python"))], ids=page_name)
def test_python_of_a_page_runs_in_order(
    page: Path, run: Path, processes: multiprocessing.context.ForkServerContext, tmp_path: Path
) -> None:
    """In a process and a folder of its own; a block may use what the blocks before it made."""
    shutil.copytree(run, tmp_path, dirs_exist_ok=True)
    lines = [
        f"exec(compile({text!r}, {f'{page.name} line {line}'!r}, 'exec'))" for line, text in blocks(page, "python")
    ]
    (tmp_path / "blocks.py").write_text("\n".join([START.format(folder=str(tmp_path)), *lines]))
    process = processes.Process(
        target=runpy.run_path, args=(str(tmp_path / "blocks.py"),), kwargs={"run_name": "__main__"}
    )
    process.start()
    process.join()
    assert process.exitcode == 0, (tmp_path / "told.txt").read_text()[-2000:]


@pytest.mark.slow
def test_tutorial_runs_as_it_is_written(tmp_path: Path) -> None:
    """Shell and Python in the order of the page, with the times that it names; limits that are met."""
    script = tmp_path / "all.py"
    script.write_text("import subprocess\n")
    with script.open("a") as stream:
        for found in BLOCK.finditer((ROOT / "docs" / "tutorial.md").read_text()):
            if found[1] == "bash":
                stream.write(f"subprocess.run(['bash', '-euc', {found[2]!r}], check=True)\n")
            if found[1] == "python":
                stream.write(f"exec(compile({found[2]!r}, 'tutorial.md', 'exec'))\n")
    subprocess.run([sys.executable, script.name], cwd=tmp_path, check=True)
    assert (tmp_path / "runs" / "digits" / "report.html").is_file()
    assert (tmp_path / "runs" / "shapes" / "result.json").is_file()


@pytest.mark.parametrize("page", [p for p in PAGES if list(commands(p))], ids=page_name)
def test_commands_of_a_page_are_commands(page: Path) -> None:
    """The verb exists, its flags exist, its values have the right type; nothing is run."""
    for line, words in commands(page):
        if not words or words[0].startswith("-"):
            continue
        assert words[0] in COMMANDS, f"line {line}: no verb {words[0]}"
        if "--help" not in words:
            with COMMANDS[words[0]].make_context(words[0], words[1:]) as context:
                assert context.params, f"line {line}: {words}"


def test_every_verb_and_flag_is_on_the_page_of_the_command_line() -> None:
    text = (ROOT / "docs" / "cli.md").read_text()
    used = {words[0] for _, words in commands(ROOT / "docs" / "cli.md") if words}
    assert used >= set(COMMANDS)
    for verb, command in COMMANDS.items():
        part = text.partition(f"\n## {verb}\n")[2].partition("\n## ")[0]
        assert part, f"no section for {verb}"
        for param in command.params:
            flag = max(param.opts, key=len)
            if flag.startswith("--") and flag not in ("--help", "--json"):
                assert f"`{flag}" in part, f"{verb} {flag}"


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_links_lead_somewhere(page: Path) -> None:
    text = BLOCK.sub("", page.read_text())
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        assert "://" not in target, f"{target}: the docs stand without the network"
        path, _, anchor = target.partition("#")
        there = (page.parent / path) if path else page
        assert there.exists(), target
        assert not anchor or anchor in slugs(there), target


def test_every_page_is_in_the_list_of_contents() -> None:
    listed = re.findall(r": (\w+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(page.name for page in PAGES[1:])


@pytest.mark.skipif(find_spec("mkdocs") is None, reason="mkdocs is not installed: pip install '.[dev]'")
def test_site_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr  # a quiet build would count no warning
    assert (tmp_path / "site" / "house" / "index.html").is_file()

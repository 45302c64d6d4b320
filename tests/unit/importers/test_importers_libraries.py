# SPDX-License-Identifier: Apache-2.0
"""Networks of timm and torchvision with a file's numbers: the file answers as the library does, and nothing is asked.

What needs neither library runs on a module of torch's own; what needs one is skipped where it does not load.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from typer.testing import CliRunner

from fireforge.base.errors import Exit, FireforgeError
from fireforge.base.preprocess import ImageSteps
from fireforge.base.recipes import steps_of
from fireforge.base.reference import run_reference
from fireforge.cli.app import app
from fireforge.importers import libraries
from fireforge.importers.libraries import import_library, of_library
from fireforge.importers.library_nets import (
    Built,
    build_timm,
    build_torchvision,
    load_library,
    timm_steps,
    torchvision_steps,
)
from fireforge.importers.library_open import open_library, read_numbers, with_numbers
from fireforge.importers.torch_module import check_answer, import_torch, load_numbers
from fireforge.jobs.bring import Told, bring
from fireforge.runtime.onnx_runtime import OnnxSession

SHAPE = (3, 12, 12)
CFG: dict[str, Any] = {
    "input_size": (3, 224, 224),
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
    "crop_pct": 0.95,
    "crop_mode": "center",
    "interpolation": "bicubic",
}
TIMM = (
    "resnet18",
    "mobilenetv2_100",
    "mnasnet_100",
    "efficientnet_b0",
    "regnetx_002",
    "densenet121",
    "mobilenetv3_small_100",
)
# the package that a child finds in place of timm: its five names that are used, on a network of torch's own
STAND_IN = """
import torch
from torch import nn
__version__ = "0"
def list_models(): return ["small"]
def list_pretrained(pattern): return ["small.one"]
def create_model(name, *, pretrained, num_classes=5):
    assert pretrained is False
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(400, num_classes))
    half = (0.5,) * 3
    net.pretrained_cfg = dict(input_size=(3, 12, 12), mean=half, std=half, interpolation="bicubic", tag="one")
    return net
"""
# every try to reach a network is written down, and ends there
WATCH = """
import sys
def _hook(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        open({file!r}, "a").write(f"{{event}} {{args}}\\n")
        raise OSError("no network here")
sys.addaudithook(_hook)
"""


class Net(nn.Module):
    """A block with a shortcut, batch norm and a counter, a buffer of whole numbers that nothing reads."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.deep = nn.Conv2d(8, 8, 3, padding=1, groups=4)
        self.head = nn.Linear(8, classes)
        self.drop = nn.Dropout(0.2, inplace=True)  # as in torchvision's MobileNetV3
        self.register_buffer("codes", torch.arange(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.stem(x)))
        return self.head(self.drop((x + self.deep(x)).mean((2, 3))))


def made(seed: int, net: nn.Module | None = None) -> nn.Module:
    """A network with numbers of its own in every tensor, so that a swap of two would be seen."""
    net = (net or Net()).eval()
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in net.state_dict().items():
        if tensor.is_floating_point():
            spread = (
                1.0 if "running" in name or "norm" in name or "bn" in name else 1 / max(1, tensor[0].numel()) ** 0.5
            )
            with torch.no_grad():
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * spread)
                if name.endswith("running_var"):
                    tensor.abs_().add_(0.5)
    return net


def saved(net: nn.Module, folder: Path, name: str = "net.safetensors") -> Path:
    path = folder / name
    if path.suffix == ".safetensors":
        save_file({name: tensor.clone() for name, tensor in net.state_dict().items()}, path)
    else:
        torch.save(net.state_dict(), path)
    return path


def built() -> Built:
    return Built(module=Net(), shape=SHAPE)


def library(name: str) -> Any:
    """timm or torchvision, or a skipped test."""
    try:
        load_library("torchvision")
        return load_library(name)
    except FireforgeError as error:
        pytest.skip(error.line()[:150])


@pytest.mark.parametrize("name", ["net.safetensors", pytest.param("net.pth", marks=pytest.mark.slow)])
def test_a_module_takes_a_file_s_numbers_and_the_graph_answers_as_it_does(name, tmp_path):
    """Against torch's own forward pass of the module that was saved; 1e-4 of the largest: another order of sums."""
    theirs = made(3)
    arrays, notes = read_numbers(saved(theirs, tmp_path, name), "torch" if name.endswith("pth") else "safetensors")
    assert notes == ()
    found = with_numbers(built(), arrays, where=name)
    noise = torch.randn((4, *SHAPE), generator=torch.Generator().manual_seed(0))
    wanted = theirs(noise).detach().numpy()
    weights = {name: form.array() for name, form in found.weights.items()}
    got = run_reference(found.graph, weights, {"input": noise.numpy()})["logits"]
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())
    assert set(weights) <= set(theirs.state_dict())


def test_names_with_a_prefix_and_halves_are_taken_and_told(tmp_path):
    arrays = {f"module.{name}": tensor.numpy() for name, tensor in made(3).state_dict().items()}
    arrays["module.head.weight"] = arrays["module.head.weight"].astype(np.float16)
    del arrays["module.norm.num_batches_tracked"]
    net = Net()
    assert load_numbers(net, arrays, where="f") == ("numbers held as float16 become float32",)
    assert net.state_dict()["head.weight"].numpy() == pytest.approx(arrays["module.head.weight"])


def test_numbers_that_are_not_those_of_the_module_are_named():
    whole = {name: tensor.numpy().copy() for name, tensor in made(3).state_dict().items()}

    def refused(arrays: dict[str, np.ndarray]) -> str:
        with pytest.raises(FireforgeError, match="BAD_WEIGHTS") as caught:
            load_numbers(Net(), arrays, where="f")
        return caught.value.line()

    less = {name: array for name, array in whole.items() if name != "head.bias"}
    assert "missing: head.bias" in refused(less)
    assert "left over: more.weight" in refused({**whole, "more.weight": np.zeros(1, np.float32)})
    told = refused({**whole, "head.weight": np.zeros((7, 8), np.float32)})
    assert "head.weight is float32 (7, 8); allowed: float32 (5, 8)" in told
    assert "head.bias is int64" in refused({**whole, "head.bias": np.zeros(5, np.int64)})
    assert "NaN" in refused({**whole, "head.bias": np.full(5, np.nan, np.float32)})
    assert "infinite" in refused({**whole, "head.bias": np.full(5, 1e300)})  # finite in the file, not as float32
    assert "variance below 0" in refused({**whole, "norm.running_var": np.full(8, -1, np.float32)})


def test_numbers_go_in_as_they_stand_or_are_refused():
    """As torchvision's MNASNet a module may rewrite itself as it loads; one may also hand out copies of its state."""

    class Rewriting(Net):
        def _load_from_state_dict(self, *_: Any) -> None:
            raise ValueError("version should be set to 1 or 2")

    class Copying(Net):
        def state_dict(self, **_: Any) -> dict[str, torch.Tensor]:
            return {name: tensor.detach().clone() for name, tensor in (*self.named_parameters(), *self.named_buffers())}

    arrays = {name: tensor.numpy() for name, tensor in made(3).state_dict().items()}
    net = Rewriting()
    load_numbers(net, arrays, where="f")
    assert torch.equal(net.head.bias, torch.from_numpy(arrays["head.bias"]))
    with pytest.raises(FireforgeError, match=r"BAD_WEIGHTS.*does not take stem\.weight"):
        load_numbers(Copying(), arrays, where="f")


def test_a_graph_that_answers_otherwise_than_its_module_is_refused():
    one = Net()
    graph, numbers = import_torch(one, SHAPE)
    check_answer(one, graph, numbers, where="f")
    numbers["stem.weight"] = numbers["stem.weight"] * 1.01
    with pytest.raises(FireforgeError, match=r"PARITY.*own answer") as caught:
        check_answer(one, graph, numbers, where="f")
    assert caught.value.exit_code == Exit.PARITY


def test_steps_of_timm_are_those_of_its_evaluation():
    """By hand from timm's transforms_imagenet_eval: the shorter side becomes floor(224 / 0.95) = 235 px."""
    steps = timm_steps(CFG)
    assert steps == steps_of("torchvision", (3, 224, 224)).replace(resize=235, filter="bicubic")
    assert timm_steps({**CFG, "crop_mode": "squash", "crop_pct": 1.0}).resize == (224, 224)
    assert timm_steps({**CFG, "crop_pct": None}).resize == 256
    one = {**CFG, "input_size": (1, 32, 32), "mean": (0.5,), "std": (0.25,), "interpolation": "bilinear"}
    assert timm_steps(one) == ImageSteps(
        channels=1, resize=33, crop=(32, 32), order="L", mean=(127.5,), std=(63.75,), filter="bilinear"
    )
    for odd in ({"crop_mode": "border"}, {"interpolation": "random"}, {"input_size": (3, 224, 192)}):
        assert timm_steps({**CFG, **odd}) is None


def test_steps_of_torchvision_are_those_of_its_preset():
    """The fields of torchvision's ImageClassification; what has others, or another filter, is left to the user."""
    kind = SimpleNamespace(value="bilinear")
    preset = SimpleNamespace(
        crop_size=[224], resize_size=[256], interpolation=kind, mean=list(CFG["mean"]), std=list(CFG["std"])
    )
    assert torchvision_steps(preset) == steps_of("torchvision", (3, 224, 224))
    kind.value = "box"
    assert torchvision_steps(preset) is None
    assert torchvision_steps(SimpleNamespace(crop_size=[224])) is None


def test_what_is_not_there_or_does_not_load_is_one_line(tmp_path, monkeypatch):
    with pytest.raises(FireforgeError) as caught:
        load_library("no_such_library")
    assert caught.value.line() == "NO_PACKAGE: no_such_library is not installed; try: pip install no_such_library"
    assert caught.value.exit_code == Exit.ENVIRONMENT
    (tmp_path / "shattered.py").write_text("raise RuntimeError('operator torchvision::nms does not exist\\nmore')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(FireforgeError) as caught:
        load_library("shattered")
    told = "NO_PACKAGE: shattered does not load: RuntimeError: operator torchvision::nms does not exist; try:"
    assert caught.value.line().startswith(told)
    assert caught.value.exit_code == Exit.ENVIRONMENT


def test_the_verb_says_what_to_install_and_takes_numbers_alone(tmp_path, monkeypatch):
    path = saved(made(3), tmp_path)
    real = importlib.util.find_spec
    monkeypatch.setattr(libraries, "find_spec", lambda name: None if name == "timm" else real(name))
    said = CliRunner().invoke(app, ["import", str(path), "--net", "timm/resnet18", "-o", str(tmp_path / "net.onnx")])
    assert isinstance(said.exception, FireforgeError)
    assert said.exception.line() == "NO_PACKAGE: timm is not installed; try: pip install timm"
    assert said.exception.exit_code == Exit.ENVIRONMENT
    monkeypatch.setattr(libraries, "find_spec", lambda name: None if name == "torch" else True)
    with pytest.raises(FireforgeError, match="NO_PACKAGE: torch is not installed"):
        import_library([path], "timm/resnet18")
    (tmp_path / "net.onnx").write_bytes(b"x")
    with pytest.raises(FireforgeError, match=r"BAD_MODEL_FILE.*kind onnx.*safetensors or torch"):
        import_library([tmp_path / "net.onnx"], "timm/resnet18")
    with pytest.raises(FireforgeError, match=r"BAD_MODEL_FILE.*2 files"):
        import_library([path, path], "timm/resnet18", kind="torch")
    with pytest.raises(FireforgeError, match="NO_FILE"):
        import_library([tmp_path / "absent.pth"], "timm/resnet18")
    assert [net for net in ("timm/x", "torchvision/x", "timm", "resnet-18", "other/x") if of_library(net)] == [
        "timm/x",
        "torchvision/x",
    ]


def test_the_way_through_the_child_with_a_library_of_one_network(tmp_path, monkeypatch):
    """A package of one network stands where timm would, so that the way is walked where timm is not installed."""
    (tmp_path / "timm.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(libraries, "find_spec", lambda name: True)
    theirs = made(4, nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(400, 5)))
    found = import_library([saved(theirs, tmp_path)], "timm/small")
    assert found.source == "net.safetensors, as timm/small of timm 0"
    assert found.steps == ImageSteps(
        channels=3, resize=13, crop=(12, 12), filter="bicubic", mean=(127.5,) * 3, std=(127.5,) * 3
    )
    assert any("timm's small.one" in note for note in found.notes)
    noise = torch.randn((2, *SHAPE), generator=torch.Generator().manual_seed(0))
    wanted = theirs(noise).detach().numpy()
    got = run_reference(found.graph, {n: f.array() for n, f in found.weights.items()}, {"input": noise.numpy()})
    np.testing.assert_allclose(got["logits"], wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())


def test_timm_s_names_are_asked_of_the_library_and_never_of_a_network():
    library("timm")
    for name, told in (
        ("hf-hub:timm/resnet18.a1_in1k", "UNKNOWN_NAME"),
        ("no_such", "UNKNOWN_NAME"),
        ("resnet18.no_such", "UNKNOWN_NAME.*a1_in1k"),
        ("vit_small_patch16_224.dino", "BAD_MODULE.*--classes"),
    ):
        with pytest.raises(FireforgeError, match=told):
            build_timm(name, file="x", classes=None)
    assert build_timm("resnet18.tv_in1k", file="x", classes=None).notes == ()
    assert build_timm("resnet18", file="x", classes=7).module.num_classes == 7


@pytest.mark.slow
@pytest.mark.parametrize("name", TIMM)
def test_timm_s_own_answer_is_the_file_s(name, tmp_path, monkeypatch):
    """Against timm's forward pass, within 1e-4 of the largest output; nothing tries to reach a network."""
    timm, reached = library("timm"), tmp_path / "reached"
    (tmp_path / "sitecustomize.py").write_text(WATCH.format(file=str(reached)))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", ""))))
    theirs = made(5, timm.create_model(name))
    told = Told(net=f"timm/{name}")
    found = bring([saved(theirs, tmp_path)], out=tmp_path / "net.onnx", told=told)
    assert found.parity.passed
    size = theirs.pretrained_cfg["input_size"]
    noise = torch.randn((2, *size), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = theirs(noise).numpy()
    session = OnnxSession(Path(found.exported.path).read_bytes())
    (got,) = session.run({"input": noise.numpy()}).values()
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())
    assert not reached.exists()


def test_an_operator_that_the_list_lacks_is_named(tmp_path):
    timm = library("timm")
    path = saved(timm.create_model("vit_tiny_patch16_224"), tmp_path)
    with pytest.raises(FireforgeError, match=r"UNKNOWN_OPERATOR: .*operator aten\.\w+"):
        open_library(path, "timm/vit_tiny_patch16_224", kind="safetensors", classes=None)


def test_a_file_of_torchvision_is_known_by_its_name(tmp_path):
    """Facts of torchvision's weights enums: sizes, filter and first class of its published files."""
    library("torchvision")
    own = build_torchvision("resnet18", file="resnet18-f37072fd.pth", classes=None)
    assert (own.steps, own.labels[0], own.notes) == (steps_of("torchvision", (3, 224, 224)), "tench", ())
    other = build_torchvision("efficientnet_b0", file="mine.pth", classes=7)
    assert (other.steps.filter, other.steps.resize, other.labels) == ("bicubic", 256, ())
    two = build_torchvision("resnet50", file="mine.pth", classes=None)
    assert two.steps == steps_of("torchvision", (3, 224, 224))
    assert "recipe" in two.notes[0]
    assert build_torchvision("resnet50", file="resnet50-11ad3fa6.pth", classes=None).steps.resize == 232
    with pytest.raises(FireforgeError, match="UNKNOWN_NAME"):
        build_torchvision("fasterrcnn_resnet50_fpn", file="x", classes=None)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The default weight initialization of GoogleNet")
@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "shufflenet_v2_x0_5", "googlenet"])
def test_torchvision_s_own_answer_is_the_file_s(name, tmp_path):
    """Against torchvision's forward pass, within 1e-4 of the largest output."""
    vision = library("torchvision")
    theirs = made(6, vision.models.get_model(name, weights=None))
    path = saved(theirs, tmp_path, "net.pth")
    found = bring([path], out=tmp_path / "net.onnx", told=Told(net=f"torchvision/{name}"))
    noise = torch.randn((2, 3, 224, 224), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = theirs(noise).numpy()
    session = OnnxSession(Path(found.exported.path).read_bytes())
    (got,) = session.run({"input": noise.numpy()}).values()
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())

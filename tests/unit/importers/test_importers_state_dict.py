# SPDX-License-Identifier: Apache-2.0
"""torch's state dicts: the published CIFAR ResNets answer as torch does; what could run code never runs."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from fireforge.base.errors import FireforgeError
from fireforge.base.model import Card, Model
from fireforge.base.pixels import normalize
from fireforge.base.postprocess import Postprocess
from fireforge.base.preprocess import ImageSteps, Preprocess
from fireforge.base.reference import run_reference
from fireforge.export.targets import pack
from fireforge.importers import state_dict, unpickle
from fireforge.importers.state_dict import check_torch_file, import_state_dict
from fireforge.nets.families import NETWORKS, build_graph
from fireforge.runtime.onnx_runtime import OnnxSession

DATA = Path(os.environ.get("FIREFORGE_DATA", "/absent"))
data = pytest.mark.skipif(not DATA.is_dir(), reason="FIREFORGE_DATA names no folder")
FILES = {
    20: "resnet20-12fca82f.th",
    32: "resnet32-d509ac18.th",
    44: "resnet44-014dd654.th",
    56: "resnet56-4bfd9763.th",
}
# percent wrong of the 10,000 test pictures as the JPEGs of quality 75 that the data holds, counted with the module
# below; the published errors, 8.27, 7.37, 6.90 and 6.61, are those of the pictures before they lost by the JPEG
ERRORS = {20: 18.97, 32: 17.44, 44: 17.33, 56: 16.80}
STEPS = ImageSteps(
    channels=3,
    resize=None,
    crop=(32, 32),
    mean=(0.485 * 255, 0.456 * 255, 0.406 * 255),
    std=(0.229 * 255, 0.224 * 255, 0.225 * 255),
)
KNOWN = build_graph(NETWORKS["resnet-20"]())


class Block(nn.Module):
    """He et al. 2015, section 4.2: two convolutions, and the shortcut of option A."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.extra = width - before

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.extra:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.extra // 2, self.extra // 2))
        return F.relu(x + y)


class Published(nn.Module):
    """The module that the published numbers belong to, with their names."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        count = (layers - 2) // 6
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        rows = [(16, 16, 1), (16, 32, 2), (32, 64, 2)]
        stages = [
            nn.Sequential(Block(before, width, stride), *(Block(width, width, 1) for _ in range(count - 1)))
            for before, width, stride in rows
        ]
        self.layer1, self.layer2, self.layer3 = stages
        self.linear = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.linear(x.mean((2, 3)))


def pictures(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Test pictures evenly over the file, which is grouped by class: uint8 (n, 3, 32, 32), and classes."""
    with np.load(DATA / "cifar10_jpegbytes.npz") as file:
        ends, joined, labels = file["offsets_test"], file["jpeg_test"].tobytes(), file["y_test"]
    chosen = np.arange(0, len(labels), len(labels) // count)
    opened = [Image.open(io.BytesIO(joined[ends[i] : ends[i + 1]])).convert("RGB") for i in chosen]
    return np.stack([np.asarray(image).transpose(2, 0, 1) for image in opened]), labels[chosen]


def labels_of(model: Model, pixels: np.ndarray) -> np.ndarray:
    session = OnnxSession(pack(model))
    parts = [normalize(pixels[i : i + 200], STEPS) for i in range(0, len(pixels), 200)]
    return np.concatenate([session.run({"input": part})["logits"].argmax(1) for part in parts])


def imported(layers: int) -> Model:
    graph = build_graph(NETWORKS[f"cifar-resnet-{layers}"]())
    found = import_state_dict([DATA / "cifar_resnet_pth" / FILES[layers]], graph)
    assert any("best_prec1" in note for note in found.notes)
    card = Card(preprocess=Preprocess(image=STEPS), postprocess=Postprocess(), labels=tuple(str(i) for i in range(10)))
    return Model(graph=found.graph, weights=found.weights, card=card)


def published_labels(layers: int, pixels: np.ndarray) -> np.ndarray:
    """The same numbers in the module above; none of our own preprocessing or execution."""
    path = DATA / "cifar_resnet_pth" / FILES[layers]
    state = torch.load(path, weights_only=True, map_location="cpu")["state_dict"]
    module = Published(layers)
    module.load_state_dict({name.removeprefix("module."): tensor for name, tensor in state.items()})
    mean, std = (torch.tensor(numbers).view(1, 3, 1, 1) for numbers in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            parts = (torch.from_numpy(pixels[i : i + 200]) for i in range(0, len(pixels), 200))
            return torch.cat([module.eval()((part / 255 - mean) / std).argmax(1) for part in parts]).numpy()
    finally:
        torch.set_num_threads(threads)


@data
def test_resnet_20_answers_as_torch_does() -> None:
    """500 pictures: at most one label may differ, for a tie; 5 points about the error of all, 3 deviations of 500."""
    pixels, truth = pictures(500)
    model = imported(20)
    found = labels_of(model, pixels)
    assert (found != published_labels(20, pixels)).sum() <= 1
    assert abs(100 * (found != truth).mean() - ERRORS[20]) <= 5
    few = run_reference(model.graph, model.arrays(), {"input": normalize(pixels[::125], STEPS)})["logits"]
    np.testing.assert_array_equal(few.argmax(1), found[::125])


@data
@pytest.mark.slow
@pytest.mark.parametrize("layers", FILES)
def test_the_published_resnets_on_all_pictures(layers: int) -> None:
    """The error of the module above on the same pictures within 0.05 points, and the label of all but 0.1 %."""
    pixels, truth = pictures(10_000)
    found = labels_of(imported(layers), pixels)
    assert abs(100 * (found != truth).mean() - ERRORS[layers]) <= 0.05
    assert (found != published_labels(layers, pixels)).mean() <= 0.001


def state(dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = {w.name: [int(size) for size in w.shape] for w in KNOWN.weights}
    return {name: torch.rand(shape, generator=generator).to(dtype) for name, shape in shapes.items()}


@pytest.mark.parametrize("old", [False, True])
def test_a_state_dict_within_others_is_found(tmp_path: Path, old: bool) -> None:
    tensors = state(torch.bfloat16 if old else torch.float32)
    content = {"model": {"state_dict": tensors, "epoch": 3}, "optimizer": {"lr": 0.1}}
    torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=not old)
    found = import_state_dict([tmp_path / "w.pth"], KNOWN)
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(found.weights[name].array(), tensor.float().numpy())
    assert any("optimizer" in note for note in found.notes)
    assert any("epoch" in note for note in found.notes)


class Attack:
    """What a hostile pickle asks for: a command that leaves a file behind."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.canary}",)


@pytest.mark.parametrize("kind", ["zip", "old", "bare", "nested"])
def test_a_pickle_that_runs_code_never_does(tmp_path: Path, kind: str) -> None:
    canary, path = tmp_path / "canary", tmp_path / "w.pth"
    if kind == "bare":
        path.write_bytes(pickle.dumps(Attack(canary)))
    else:
        content = {"state_dict": {"a.weight": Attack(canary)}} if kind == "nested" else Attack(canary)
        torch.save(content, path, _use_new_zipfile_serialization=kind != "old")
    with pytest.raises(FireforgeError, match=r"UNSAFE_FILE.*pickle files can run code"):
        import_state_dict([path], KNOWN)
    assert not canary.exists()


def test_torchscript_and_exported_programs_are_refused_by_name(tmp_path: Path) -> None:
    for name, member in (("a.pt", "a/constants.pkl"), ("a.pt", "a/code/__torch__.py")):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("a/data.pkl", b"")
            archive.writestr(member, b"")
        with pytest.raises(FireforgeError, match=r"UNSAFE_FILE.*TorchScript"):
            check_torch_file(tmp_path / name)
    torch.export.save(torch.export.export(nn.Linear(2, 2), (torch.zeros(1, 2),)), tmp_path / "b.pt2")
    (tmp_path / "b.pt2").rename(tmp_path / "c.pt")
    with pytest.raises(FireforgeError, match=r"UNSAFE_FILE.*export"):
        import_state_dict([tmp_path / "c.pt"], KNOWN)


@pytest.mark.parametrize(
    ("content", "code", "told"),
    [
        ([1, 2], "BAD_WEIGHTS", "holds list"),
        ({"a.weight": torch.zeros(1).expand(2**40)}, "BAD_MODEL_FILE", "bytes in a file of"),
        ({"a.weight": torch.eye(2).to_sparse()}, "BAD_WEIGHTS", "sparse"),
    ],
)
def test_content_that_is_no_state_dict_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: Any, code: str, told: str
) -> None:
    """The file is opened in this process, which saves the time to start another."""
    monkeypatch.setattr(unpickle, "limit_memory", lambda size: None)
    monkeypatch.setattr(state_dict, "in_child", lambda module, path, out: unpickle._convert(str(path), str(out)))
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(FireforgeError) as error:
        import_state_dict([tmp_path / "w.pt"], KNOWN)
    assert error.value.code == code
    assert told in error.value.line()


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    """Cut anywhere, a zip has lost its table at the end; a file of the old form is torch's own to refuse."""
    path = tmp_path / "w.pt"
    torch.save({"a.weight": torch.zeros(3)}, path)
    whole = path.read_bytes()
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        with pytest.raises(FireforgeError, match=r"BAD_MODEL_FILE|UNSAFE_FILE"):
            check_torch_file(path)
    torch.save({"a.weight": torch.zeros(3)}, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(FireforgeError, match=r"BAD_MODEL_FILE"):
        import_state_dict([path], KNOWN)
    path.write_bytes(b"GIF89a")
    with pytest.raises(FireforgeError, match=r"BAD_MODEL_FILE.*not a file of torch"):
        import_state_dict([path], KNOWN)
    with pytest.raises(FireforgeError, match="NO_FILE"):
        import_state_dict([tmp_path / "absent.pt"], KNOWN)


def test_an_archive_that_unpacks_to_more_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w/data.pkl", b"\0" * 1_000_000)
    with pytest.raises(FireforgeError, match=r"BAD_MODEL_FILE.*unpack"):
        import_state_dict([tmp_path / "w.pt"], KNOWN)


def test_numbers_alone_need_a_network(tmp_path: Path) -> None:
    torch.save({"a.weight": torch.zeros(3)}, tmp_path / "w.pt")
    with pytest.raises(FireforgeError, match=r"BAD_WEIGHTS.*--net"):
        import_state_dict([tmp_path / "w.pt"], None)

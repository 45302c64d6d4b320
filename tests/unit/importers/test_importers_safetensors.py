# SPDX-License-Identifier: Apache-2.0
"""safetensors, and which array becomes which weight: by name, by order, or a refusal that names what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from fireforge.base.errors import FireforgeError
from fireforge.importers.matching import match
from fireforge.importers.safetensors_file import import_safetensors, read_safetensors, write_safetensors
from fireforge.nets.families import NETWORKS, build_graph

RNG = np.random.default_rng(0)
KNOWN = build_graph(NETWORKS["resnet-20"]())
BASIC = build_graph(NETWORKS["resnet-18"]())


def random_arrays(graph: Any) -> dict[str, np.ndarray]:
    return {w.name: RNG.uniform(0.1, 1, w.shape).astype(np.float32) for w in graph.weights}


def as_torch_names(ours: str) -> str:
    """The names of torchvision's ResNets, written out here."""
    name = ours
    for stage in range(4, 0, -1):
        for block in range(9, 0, -1):
            name = name.replace(f"stage{stage}.block{block}.", f"layer{stage}.{block - 1}.")
    for old, new in (("shortcut_norm", "downsample.1"), ("shortcut", "downsample.0"), ("classifier", "fc")):
        name = name.replace(old, new)
    for i in (1, 2, 3):
        name = name.replace(f"conv{i}_norm", f"bn{i}")
    return name.replace("stem_norm", "bn1").replace("stem", "conv1")


def test_a_file_of_the_safetensors_package_is_read(tmp_path: Path) -> None:
    """Reference: the safetensors package, both ways."""
    arrays = {"b": RNG.uniform(0, 1, (2, 3)).astype(np.float32), "a": np.arange(4), "s": np.asarray(2.0)}
    arrays["h"] = RNG.uniform(0, 1, (5,)).astype(np.float16)
    read = read_safetensors(save(arrays, metadata={"format": "np"}), where="f")
    ours = load(write_safetensors(arrays))
    assert read.keys() == ours.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)
        np.testing.assert_array_equal(ours[name], array)
        assert read[name].dtype == ours[name].dtype == array.dtype


def test_bfloat16_is_the_upper_half_of_float32() -> None:
    raw = np.asarray([1.5, -0.15625], np.float32).view(np.uint32) >> 16
    head = json.dumps({"x": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}).encode()
    data = len(head).to_bytes(8, "little") + head + raw.astype("<u2").tobytes()
    np.testing.assert_array_equal(read_safetensors(data, where="f")["x"], [1.5, -0.15625])


def test_own_names_go_to_their_weights_in_any_order(tmp_path: Path) -> None:
    arrays = random_arrays(KNOWN)
    arrays = {f"module.{name}": arrays[name] for name in reversed(arrays)}
    arrays["module.stem_norm.num_batches_tracked"] = np.asarray(7)
    (tmp_path / "w.safetensors").write_bytes(save(arrays))
    found = import_safetensors([tmp_path / "w.safetensors"], KNOWN)
    assert found.graph == KNOWN
    assert found.notes == ()
    for name, form in found.weights.items():
        np.testing.assert_array_equal(form.array(), arrays[f"module.{name}"])


@pytest.mark.parametrize("order", ["definition", "sorted by name"])
def test_torchvisions_names_go_by_order(order: str) -> None:
    """torchvision's definition order and our own agree; sorted by name, as safetensors is written, it is told back."""
    arrays = random_arrays(BASIC)
    theirs = {as_torch_names(name): array for name, array in arrays.items()}
    assert {"conv1.weight", "layer2.0.downsample.0.weight", "layer4.1.bn2.running_var", "fc.bias"} <= theirs.keys()
    if order != "definition":
        theirs = read_safetensors(save(theirs), where="f")
        assert list(theirs) == sorted(theirs)
    forms, notes = match(BASIC, theirs, where="f")
    for name, array in arrays.items():
        np.testing.assert_array_equal(forms[name].array(), array)
    assert "stem.weight is conv1.weight" in notes[0]


def test_ten_blocks_are_counted_and_not_spelt() -> None:
    graph = build_graph(NETWORKS["cifar-resnet-110"]())
    arrays = random_arrays(graph)
    for block in range(18, 9, -1):
        assert f"stage1.block{block}.conv1.weight" in arrays
    theirs = {name.replace("stage", "layer").replace("stem", "conv1"): array for name, array in arrays.items()}
    forms, _ = match(graph, read_safetensors(save(theirs), where="f"), where="f")
    for name, array in arrays.items():
        np.testing.assert_array_equal(forms[name].array(), array)


def test_a_matrix_fits_a_kernel_of_one_by_one() -> None:
    arrays = random_arrays(KNOWN)
    name = "stage2.block1.shortcut.weight"
    arrays[name] = arrays[name][:, :, 0, 0].astype(np.float16)
    forms, notes = match(KNOWN, arrays, where="f")
    np.testing.assert_array_equal(forms[name].array()[:, :, 0, 0], arrays[name])
    assert forms[name].array().dtype == np.float32
    assert notes == ("numbers held as float16 become float32",)


def without(arrays: dict[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    return {key: array for key, array in arrays.items() if key != name}


def swapped(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Definition order in which the first stage's second block names its equal convolutions the other way round."""
    names = {"layer1.1.conv1.weight": "layer1.1.conv2.weight", "layer1.1.conv2.weight": "layer1.1.conv1.weight"}
    return {names.get(name, name): array for name, array in arrays.items()}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda own, other: without(own, "classifier.bias"), "missing: classifier.bias"),
        (lambda own, other: {**own, "head.weight": np.ones((2, 2), np.float32)}, "left over: head.weight"),
        (lambda own, other: {**own, "stem.weight": np.ones((16, 3, 5, 5), np.float32)}, "(16, 3, 3, 3)"),
        (lambda own, other: {**own, "stem.weight": own["stem.weight"] * np.nan}, "stem.weight: numbers that are NaN"),
        (lambda own, other: {**own, "stem_norm.running_var": -own["stem_norm.running_var"]}, "variance below 0"),
        (lambda own, other: {**own, "stem.weight": np.ones((16, 3, 3, 3), np.int64)}, "stem.weight holds int64"),
        (lambda own, other: without(other, "fc.bias"), "missing: bias"),
        (lambda own, other: without(other, "layer3.2.conv2.weight"), "layer"),
        (lambda own, other: {**other, "more.weight": np.ones((9, 9), np.float32)}, "left over: more"),
        (lambda own, other: {**other, "more.alpha": np.ones(9, np.float32)}, "left over: more.alpha"),
        (lambda own, other: swapped(other), "ambiguous"),
        (lambda own, other: {}, "missing: stem"),
    ],
)
def test_what_does_not_fit_is_named(change: Any, told: str) -> None:
    own = random_arrays(KNOWN)
    other = {as_torch_names(name): array for name, array in own.items()}
    with pytest.raises(FireforgeError) as error:
        match(KNOWN, change(own, other), where="f")
    assert error.value.code == "BAD_WEIGHTS"
    assert told in error.value.line()


def test_numbers_alone_need_a_network(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(save({"x": np.ones(2, np.float32)}))
    with pytest.raises(FireforgeError, match=r"BAD_WEIGHTS.*--net"):
        import_safetensors([tmp_path / "w.safetensors"], None)


def test_fixed_numbers_are_the_networks_own() -> None:
    graph = build_graph(NETWORKS["lenet-5"]())
    fixed = [weight for weight in graph.weights if weight.fixed]
    assert fixed
    forms, _ = match(graph, {w.name: np.ones(w.shape, np.float32) for w in graph.weights if not w.fixed}, where="f")
    for weight in fixed:
        np.testing.assert_array_equal(forms[weight.name].array().ravel(), np.asarray(weight.fixed, np.float32))


def packed(header: Any, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def entry(shape: Any = (1,), offsets: Any = (0, 4), dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


LIES = [
    b"",
    b"\xff" * 7,
    b"\xff" * 8,
    (2**63).to_bytes(8, "little") + b"{}",
    (3).to_bytes(8, "little") + b"{}",
    packed(b"{"),
    packed(b"[]"),
    packed(b"[" * 100_000),
    packed(b'{"a": {"dtype": "F32", "shape": [1' + b"0" * 5000 + b'], "data_offsets": [0, 4]}}', b"\0" * 4),
    packed({"a": []}),
    packed({"a": entry(dtype="F8")}, b"\0" * 4),
    packed({"a": entry(dtype=["F32"])}, b"\0" * 4),
    packed({"a": entry((-1,))}, b"\0" * 4),
    packed({"a": entry((True,))}, b"\0" * 4),
    packed({"a": entry((1.0,))}, b"\0" * 4),
    packed({"a": entry((2,))}, b"\0" * 4),
    packed({"a": entry((2**40, 2**40), (0, 4))}, b"\0" * 4),
    packed({"a": entry((1,) * 200)}, b"\0" * 4),
    packed({"a": entry(offsets=(0, 8), shape=(2,))}, b"\0" * 4),
    packed({"a": entry(offsets=(4, 0))}, b"\0" * 4),
    packed({"a": entry(offsets=(0, 4, 8))}, b"\0" * 4),
    packed({"a": entry(), "b": entry()}, b"\0" * 4),
    packed({"a": entry(offsets=(4, 8))}, b"\0" * 8),
    packed({"a": entry()}, b"\0" * 5),
    packed(b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "a": {}}', b"\0" * 4),
]


@pytest.mark.parametrize("data", LIES, ids=range(len(LIES)))
def test_what_lies_is_refused(data: bytes) -> None:
    with pytest.raises(FireforgeError) as error:
        read_safetensors(data, where="f")
    assert error.value.code == "BAD_MODEL_FILE"


WHOLE = write_safetensors({"a.weight": np.ones((2, 3), np.float32), "a.bias": np.ones(2, np.float16)})


@pytest.mark.parametrize("size", range(len(WHOLE)))
def test_every_truncation_is_refused(size: int) -> None:
    with pytest.raises(FireforgeError, match="BAD_MODEL_FILE"):
        read_safetensors(WHOLE[:size], where="f")


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=5))
def test_mangled_bytes_are_read_or_refused(changes: list[tuple[int, int]]) -> None:
    data = bytearray(WHOLE)
    for at, value in changes:
        data[at] = value
    try:
        arrays = read_safetensors(bytes(data), where="f")
    except FireforgeError as error:
        assert error.code == "BAD_MODEL_FILE"  # noqa: PT017
    else:
        assert sum(array.nbytes for array in arrays.values()) <= 2 * len(WHOLE)

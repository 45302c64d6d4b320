# SPDX-License-Identifier: Apache-2.0
"""The numpy reference against ONNX's own node test cases, at each case's tolerance."""

from __future__ import annotations

import fnmatch
import functools
import importlib
import pkgutil
import warnings
from typing import Any

import numpy as np
import onnx
import onnx.backend.test.case.node as onnx_cases
import onnx.numpy_helper
import pytest

from fireforge.base.graph import DTYPES, Graph, Node, TensorType
from fireforge.base.infer import infer
from fireforge.base.ops.table import OPERATORS
from fireforge.base.reference import run_reference
from fireforge.base.validate import validate

# What our operators do not have, by case name, and why. A pattern that no case matches fails a test.
SKIPPED = {
    "*_autopad_same": "auto_pad: pads are explicit here",
    "*_same_upper": "auto_pad: pads are explicit here",
    "*_same_lower": "auto_pad: pads are explicit here",
    "convtranspose_output_shape": "output_shape: pads are explicit here",
    "convtranspose_kernel_shape": "output_shape: pads are explicit here",
    "batchnorm_*_training_mode": "training form",
    "training_dropout*": "training form",
    "dropout_default_mask*": "second output (mask)",
    "maxpool_with_argmax_*": "second output (indices)",
    "averagepool_*_dilations*": "dilated average pooling came with opset 19",
    "*_uint16": "dtype not of ours",
    "*_int16": "dtype not of ours",
    "*_uint32": "dtype not of ours",
    "*_uint64": "dtype not of ours",
    "*quantizelinear_*e4m3fn*": "float8",
    "*quantizelinear_*e5m2": "float8",
    "*quantizelinear_float4e2m1": "float4",
    "*quantizelinear_*int4": "4 bits",
    "*quantizelinear_*int2": "2 bits",
    "*quantizelinear_blocked*": "blocks came with opset 21",
    "split_zero_size_splits*": "tensors without elements",
    "slice_start_out_of_bounds": "tensors without elements",
    "reshape_allowzero_reordered": "tensors without elements",
    "wrap_pad": "mode wrap came with opset 19",
    "resize_*_cubic*": "cubic",
    "resize_*_antialias": "antialias came with opset 18",
    "resize_tf_crop_and_resize*": "crop while resizing",
    "resize_*_pytorch_half_pixel": "coordinate mode outside the list",
    "resize_*_half_pixel_symmetric": "coordinate mode of opset 19",
    "resize_*_round_prefer_ceil_asymmetric": "nearest mode outside the list",
    "resize_*_nearest_ceil_half_pixel": "nearest mode outside the list",
    "resize_*_not_larger": "aspect ratio policy came with opset 18",
    "resize_*_not_smaller": "aspect ratio policy came with opset 18",
    "resize_downsample_scales_linear_align_corners": "divides by a fractional size, torch by the whole one",
    "identity_sequence": "a sequence, not a tensor",
    "identity_opt": "an optional sequence, not a tensor",
    "*_expanded": "an operator's body in other operators",
}
COVERED = 237  # must not shrink


@functools.cache
def _cases() -> dict[str, Any]:
    """Case name without its prefix to the case, for each case of one node whose operator is ours.

    ONNX keeps the cases of an operator in a file of its name. The files of other operators are not read, which compute
    their cases as well, for seconds.
    """
    names = {op.lower() for op in OPERATORS}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for file in pkgutil.iter_modules(onnx_cases.__path__):
            if file.name.replace("_", "") in names:
                importlib.import_module(f"{onnx_cases.__name__}.{file.name}")
    found = {}
    for case in onnx_cases._NodeTestCases:
        nodes = case.model.graph.node
        if len(nodes) == 1 and nodes[0].op_type in OPERATORS:
            found[case.name.removeprefix("test_")] = case
    return found


def _reason(name: str) -> str:
    return next((reason for pattern, reason in SKIPPED.items() if fnmatch.fnmatch(name, pattern)), "")


def _attrs(node: Any) -> dict[str, Any]:
    attrs = {}
    for attr in node.attribute:
        value = onnx.helper.get_attribute_value(attr)
        attrs[attr.name] = tuple(value) if isinstance(value, (list, tuple)) else value
        if isinstance(value, bytes):
            attrs[attr.name] = value.decode()
    return attrs


def _spread(values: Any, axes: Any, rank: int, rest: Any) -> tuple[Any, ...]:
    """One value for each axis: the given ones on their axes, `rest` on the others."""
    full = [rest] * rank
    for axis, value in zip(axes, values):
        full[axis] = value
    return tuple(full)


def _constants(op: str, attrs: dict[str, Any], arrays: list[Any], outputs: list[Any]) -> list[Any]:
    """Move the inputs that are attributes here into `attrs`; the rest is returned."""
    x, rest = arrays[0], arrays[1:]
    ints = [None if array is None or array.ndim != 1 else tuple(array.tolist()) for array in rest]
    ints += [None] * (4 - len(ints))
    if op == "Clip":
        attrs.update({key: float(array) for key, array in zip(("min", "max"), rest) if array is not None})
    elif op == "Reshape":
        attrs["shape"] = ints[0]
    elif op == "Slice":
        attrs.update(starts=ints[0], ends=ints[1], axes=ints[2] or tuple(range(len(ints[0]))))
        attrs["steps"] = ints[3] or (1,) * len(ints[0])
    elif op == "Split":
        attrs["split"] = ints[0] or tuple(part.shape[attrs.get("axis", 0)] for part in outputs)
        attrs.pop("num_outputs", None)
    elif op == "Pad":
        axes, half = ints[2] or tuple(range(x.ndim)), len(ints[0]) // 2
        attrs["pads"] = _spread(ints[0][:half], axes, x.ndim, 0) + _spread(ints[0][half:], axes, x.ndim, 0)
        if len(rest) > 1 and rest[1] is not None:
            attrs["value"] = float(rest[1])
    elif op == "Resize":
        axes = attrs.pop("axes", tuple(range(x.ndim)))
        if rest[1] is not None and rest[1].size:
            attrs["scales"] = _spread([float(s) for s in rest[1]], axes, x.ndim, 1.0)
        else:
            attrs["sizes"] = _spread(ints[2], axes, x.ndim, 0)
    elif op == "ReduceMean":
        attrs["axes"] = ints[0] or ()
    elif op == "Dropout":
        attrs.pop("seed", None)
        if rest:
            attrs["ratio"] = float(rest[0])
    else:
        return arrays
    return [x]


def _graph(case: Any) -> tuple[Graph, dict[str, Any], list[Any]]:
    """The case as our graph, its inputs and its outputs."""
    node = case.model.graph.node[0]
    ins, outs = case.data_sets[0]
    named = dict(zip((value.name for value in case.model.graph.input), ins))
    arrays = [named[name] if name else None for name in node.input]
    attrs = _attrs(node)
    arrays = _constants(node.op_type, attrs, arrays, outs)
    if node.op_type in ("Conv", "ConvTranspose"):
        attrs.setdefault("kernel_shape", arrays[1].shape[2:])
    if node.op_type == "Transpose":
        attrs.setdefault("perm", tuple(reversed(range(arrays[0].ndim))))
    if node.op_type == "LayerNormalization":
        outs = outs[:1]  # mean and deviation are by-products that we do not give
    names = ["" if array is None else f"in{i}" for i, array in enumerate(arrays)]
    feed = {name: np.asarray(array) for name, array in zip(names, arrays) if name}
    outputs = tuple(f"out{i}" for i in range(len(outs)))
    ours = Node(name="node", op=node.op_type, inputs=tuple(names), outputs=outputs, attrs=attrs)
    inputs = tuple(TensorType(name=n, dtype=str(a.dtype), shape=a.shape) for n, a in feed.items())
    return Graph(inputs=inputs, outputs=outputs, weights=(), nodes=(ours,)), feed, outs


RUN = [name for name in sorted(_cases()) if not _reason(name)]


@pytest.mark.parametrize("name", RUN)
def test_reference_equals_onnx_node_case(name: str) -> None:
    """Reference: the case's stored outputs, at its own rtol and atol."""
    case = _cases()[name]
    graph, feed, expected = _graph(case)
    validate(graph)
    types = infer(graph)
    results = run_reference(graph, {}, feed)
    for key, want in zip(graph.outputs, expected):
        want = np.asarray(want)
        assert (types[key].dtype, types[key].shape) == (str(want.dtype), want.shape)
        assert results[key].dtype == want.dtype
        np.testing.assert_allclose(results[key], want, rtol=case.rtol, atol=case.atol)


def test_number_of_covered_cases_does_not_shrink() -> None:
    assert len(RUN) >= COVERED, f"{len(RUN)} of {len(_cases())} cases run"


def test_every_skip_pattern_meets_a_case() -> None:
    stale = [pattern for pattern in SKIPPED if not fnmatch.filter(_cases(), pattern)]
    assert stale == []


def test_every_operator_meets_a_case() -> None:
    assert {_cases()[name].model.graph.node[0].op_type for name in RUN} == set(OPERATORS)


def test_dtypes_of_the_cases_are_ours() -> None:
    for name in RUN:
        for array in _graph(_cases()[name])[1].values():
            assert str(array.dtype) in DTYPES

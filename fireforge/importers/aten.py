# SPDX-License-Identifier: Apache-2.0
"""What each ATen operator is in our closed list: name to a function that writes the nodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, Protocol

import numpy as np

from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Attr

Args = dict[str, Any]  # the operator's arguments by the names of its schema, defaults filled in


class Pen(Protocol):
    """What a translation may ask of the walk over the program, about the call that it translates."""

    where: str

    def name(self, value: Any) -> str:
        """Name of the tensor that an argument is; "" for None."""
        ...

    def operand(self, value: Any, like: Any) -> str:
        """Name of an argument that may be a number: it becomes a weight of shape () in the dtype of `like`."""
        ...

    def constant(self, part: str, array: np.ndarray) -> str:
        """Name of a new weight that holds the array."""
        ...

    def shape(self, value: Any) -> tuple[int | str, ...]:
        """Shape of a tensor argument; symbols are strings."""
        ...

    def result(self) -> tuple[int | str, ...]:
        """Shape of what the call returns."""
        ...

    def parts(self) -> tuple[tuple[int | str, ...], ...]:
        """Shapes of what a call that returns a list returns."""
        ...

    def add(self, op: str, *inputs: str, **attrs: Attr) -> str:
        """Write a node with one output; its name comes back."""
        ...

    def split(self, source: str, sizes: tuple[int, ...], axis: int) -> tuple[str, ...]:
        """Write a Split; the names of its parts come back."""
        ...


Translation = Callable[[Pen, Args], Any]  # -> tensor name, or a tuple of names where the operator returns several


def refuse(pen: Pen, what: str) -> NoReturn:
    """Say that an operator comes in a form that the list has no word for.

    Args:
      pen: knows where the call stands.
      what: operator and form.

    Raises:
      FireforgeError: UNKNOWN_OPERATOR, always.
    """
    raise FireforgeError("UNKNOWN_OPERATOR", what, where=pen.where)


def _pair(values: Any, rank: int) -> tuple[int, ...]:
    given = tuple(values) if isinstance(values, (list, tuple)) else (values,)
    return given * rank if len(given) == 1 else given


def _known(pen: Pen, sizes: Any) -> tuple[int, ...]:
    if any(isinstance(size, str) for size in sizes):
        refuse(pen, f"sizes {tuple(sizes)} must be known but for the batch")
    return tuple(sizes)


def _conv(pen: Pen, a: Args) -> str:
    weight = _known(pen, pen.shape(a["weight"]))
    kernel, rank = weight[2:], len(weight) - 2
    dilations = _pair(a["dilation"], rank)
    if len(pen.shape(a["input"])) != rank + 2:
        refuse(pen, "convolution of a tensor without batch axis")
    pads = a["padding"]
    if pads == "same":  # torch puts the odd one behind
        total = [d * (k - 1) for d, k in zip(dilations, kernel)]
        both = (*(t // 2 for t in total), *(t - t // 2 for t in total))
    else:
        both = _pair(0 if pads == "valid" else pads, rank) * 2
    attrs: dict[str, Attr] = {"kernel_shape": kernel, "strides": _pair(a["stride"], rank), "pads": both}
    attrs.update({"dilations": dilations, "group": a["groups"]})
    op = "Conv"
    if a.get("transposed"):
        op = "ConvTranspose"
        attrs["output_padding"] = _pair(a["output_padding"], rank)
    return pen.add(op, *_given(pen, a["input"], a["weight"], a["bias"]), **attrs)


def _transposed(pen: Pen, a: Args) -> str:
    return _conv(pen, {**a, "transposed": True})


def _given(pen: Pen, *values: Any) -> tuple[str, ...]:
    """Names of the arguments, absent ones at the end left out."""
    names = [pen.name(value) for value in values]
    while not names[-1]:
        names.pop()
    return tuple(names)


def _batch_norm(pen: Pen, a: Args) -> Any:
    if a.get("training") or a["running_mean"] is None:
        refuse(pen, "batch norm without running statistics")
    channels = _known(pen, pen.shape(a["running_mean"]))
    scale = pen.name(a["weight"]) or pen.constant("weight", np.ones(channels, np.float32))
    shift = pen.name(a["bias"]) or pen.constant("bias", np.zeros(channels, np.float32))
    mean, variance = pen.name(a["running_mean"]), pen.name(a["running_var"])
    attrs: dict[str, Attr] = {"epsilon": a["eps"], "momentum": 1 - a["momentum"]}
    return pen.add("BatchNormalization", pen.name(a["input"]), scale, shift, mean, variance, **attrs)


def _first(translation: Translation) -> Translation:
    """The same for an operator that returns its result and things that nobody reads."""
    return lambda pen, a: (translation(pen, a),)


def _layer_norm(pen: Pen, a: Args) -> str:
    shape = tuple(a["normalized_shape"])
    scale = pen.name(a["weight"]) or pen.constant("weight", np.ones(shape, np.float32))
    shift = () if a["bias"] is None else (pen.name(a["bias"]),)
    return pen.add("LayerNormalization", pen.name(a["input"]), scale, *shift, axis=-len(shape), epsilon=a["eps"])


def _linear(pen: Pen, a: Args) -> str:
    if len(pen.shape(a["input"])) == 2:
        return pen.add("Gemm", *_given(pen, a["input"], a["weight"], a["bias"]), transB=1)
    turned = pen.add("Transpose", pen.name(a["weight"]), perm=(1, 0))
    out = pen.add("MatMul", pen.name(a["input"]), turned)
    return pen.add("Add", out, pen.name(a["bias"])) if a["bias"] is not None else out


def _addmm(pen: Pen, a: Args) -> str:
    names = (pen.name(a["mat1"]), pen.name(a["mat2"]), pen.name(a["self"]))
    return pen.add("Gemm", *names, alpha=float(a["alpha"]), beta=float(a["beta"]))


def _matmul(pen: Pen, a: Args) -> str:
    return pen.add("MatMul", pen.name(a["self"]), pen.name(a.get("mat2", a.get("other"))))


def _transpose(pen: Pen, a: Args) -> str:
    rank = len(pen.shape(a["self"]))
    order = list(range(rank))
    if "dims" in a:
        order = [dim % rank for dim in a["dims"]]
    elif rank > 1:
        one, two = a.get("dim0", 0), a.get("dim1", 1)
        order[one], order[two] = order[two], order[one]
    return pen.add("Transpose", pen.name(a["self"]), perm=tuple(order))


def _plain(op: str, **attrs: Attr) -> Translation:
    """An operator of one tensor with fixed attributes."""
    return lambda pen, a: pen.add(op, pen.name(a["self"]), **attrs)


def _clip(pen: Pen, a: Args) -> str:
    low = a.get("min", a.get("min_val"))
    high = a.get("max", a.get("max_val"))
    if not all(bound is None or isinstance(bound, (int, float)) for bound in (low, high)):
        refuse(pen, "clamp with tensors as bounds")
    attrs: dict[str, Attr] = {name: float(bound) for name, bound in (("min", low), ("max", high)) if bound is not None}
    return pen.add("Clip", pen.name(a["self"]), **attrs)


def _silu(pen: Pen, a: Args) -> str:
    return pen.add("Mul", pen.name(a["self"]), pen.add("Sigmoid", pen.name(a["self"])))


def _leaky(pen: Pen, a: Args) -> str:
    return pen.add("LeakyRelu", pen.name(a["self"]), alpha=float(a["negative_slope"]))


def _softmax(op: str) -> Translation:
    def translate(pen: Pen, a: Args) -> str:
        if a.get("dtype") is not None or a.get("half_to_float"):
            refuse(pen, f"{op} that changes the dtype")
        return pen.add(op, pen.name(a["self"]), axis=a["dim"])

    return translate


def _dropout(pen: Pen, a: Args) -> str:
    source = a["input"] if "input" in a else a["self"]  # dropout_ in place calls it self
    return pen.add("Dropout", pen.name(source), ratio=float(a["p"]))


def _max_pool(pen: Pen, a: Args) -> str:
    attrs = _window(pen, a)
    return pen.add("MaxPool", pen.name(a["self"]), dilations=_pair(a["dilation"], len(a["kernel_size"])), **attrs)


def _average_pool(pen: Pen, a: Args) -> str:
    if a.get("divisor_override") is not None:
        refuse(pen, "avg_pool with divisor_override")
    attrs = _window(pen, a)
    return pen.add("AveragePool", pen.name(a["self"]), count_include_pad=int(a["count_include_pad"]), **attrs)


def _window(pen: Pen, a: Args) -> dict[str, Attr]:
    rank = len(pen.shape(a["self"])) - 2
    kernel = _pair(a["kernel_size"], rank)
    strides = _pair(a["stride"], rank) if a["stride"] else kernel
    pads = _pair(a["padding"], rank) * 2
    return {"kernel_shape": kernel, "strides": strides, "pads": pads, "ceil_mode": int(a["ceil_mode"])}


def _adaptive(op: str) -> Translation:
    def translate(pen: Pen, a: Args) -> Any:
        sizes, wanted = _known(pen, pen.shape(a["self"])[2:]), tuple(a["output_size"])
        if all(want == 1 for want in wanted):
            return pen.add(f"Global{op}", pen.name(a["self"]))
        if any(size % want for size, want in zip(sizes, wanted)):
            refuse(pen, f"adaptive pooling of {sizes} to {wanted}, which does not divide it")
        kernel = tuple(size // want for size, want in zip(sizes, wanted))
        return pen.add(op, pen.name(a["self"]), kernel_shape=kernel, strides=kernel, pads=(0, 0) * len(kernel))

    return translate


def _mean(pen: Pen, a: Args) -> str:
    if a.get("dtype") is not None:
        refuse(pen, "mean that changes the dtype")
    rank = len(pen.shape(a["self"]))
    axes = tuple(sorted(axis % rank for axis in (a.get("dim") or range(rank))))
    keep = bool(a.get("keepdim"))
    if keep and rank > 2 and axes == tuple(range(2, rank)):
        return pen.add("GlobalAveragePool", pen.name(a["self"]))
    return pen.add("ReduceMean", pen.name(a["self"]), axes=axes, keepdims=int(keep))


def _reshape(pen: Pen, a: Args) -> str:
    """View, flatten, squeeze and their like: only the shapes before and after matter."""
    old, new = pen.shape(a["self"]), pen.result()
    if len(new) == 2 and len(old) > 1 and new[0] == old[0] and isinstance(old[0], str):
        return pen.add("Flatten", pen.name(a["self"]), axis=1)
    target = []
    for i, dim in enumerate(new):
        copied = isinstance(dim, str) and i < len(old) and old[i] == dim
        target.append(0 if copied else -1 if isinstance(dim, str) else dim)
    if target.count(-1) > 1:
        refuse(pen, f"reshape of {old} to {new}")
    return pen.add("Reshape", pen.name(a["self"]), shape=tuple(target))


def _concat(pen: Pen, a: Args) -> str:
    return pen.add("Concat", *(pen.name(part) for part in a["tensors"]), axis=a["dim"])


def _two(op: str) -> Translation:
    def translate(pen: Pen, a: Args) -> str:
        if a.get("rounding_mode") is not None:
            refuse(pen, "division that rounds")
        like = a["self"] if not isinstance(a["self"], (int, float)) else a["other"]
        first, second = pen.operand(a["self"], like), pen.operand(a["other"], like)
        if a.get("alpha", 1) != 1:
            second = pen.add("Mul", second, pen.operand(a["alpha"], like))
        return pen.add(op, first, second)

    return translate


def _reversed_sub(pen: Pen, a: Args) -> str:
    return str(_two("Sub")(pen, {**a, "self": a["other"], "other": a["self"]}))


def _slice(pen: Pen, a: Args) -> str:
    source = pen.name(a["self"])
    start, end, step = a["start"], a["end"], a["step"]
    if not all(bound is None or isinstance(bound, int) for bound in (start, end)):
        refuse(pen, "slice with bounds that depend on the batch")
    start = start or 0
    end = 2**31 - 1 if end is None or end > 2**31 else end
    return pen.add("Slice", source, starts=(start,), ends=(end,), axes=(a["dim"],), steps=(step,))


def _select(pen: Pen, a: Args) -> str:
    size, index = pen.shape(a["self"])[a["dim"]], a["index"]
    if isinstance(size, str) or not isinstance(index, int) or a["dim"] == 0:
        refuse(pen, "select along the batch")
    start = index + size if index < 0 else index
    part = pen.add("Slice", pen.name(a["self"]), starts=(start,), ends=(start + 1,), axes=(a["dim"],), steps=(1,))
    return pen.add("Reshape", part, shape=tuple(0 if isinstance(dim, str) else dim for dim in pen.result()))


def _split(pen: Pen, a: Args) -> tuple[str, ...]:
    axis = a["dim"]
    return pen.split(pen.name(a["self"]), _known(pen, [shape[axis] for shape in pen.parts()]), axis)


def _pad(pen: Pen, a: Args) -> str:
    mode = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}.get(a.get("mode", "constant"))
    if mode is None:
        refuse(pen, f"pad in mode {a['mode']}")
    rank, pads = len(pen.shape(a["self"])), list(a["pad"])
    begins, ends = [0] * rank, [0] * rank
    for i in range(len(pads) // 2):  # torch names the last axis first
        begins[rank - 1 - i], ends[rank - 1 - i] = pads[2 * i], pads[2 * i + 1]
    return pen.add("Pad", pen.name(a["self"]), pads=(*begins, *ends), mode=mode, value=float(a.get("value") or 0))


def _resize(mode: str) -> Translation:
    def translate(pen: Pen, a: Args) -> str:
        attrs: dict[str, Attr] = {"mode": mode}
        attrs["coordinate_transformation_mode"] = "asymmetric" if mode == "nearest" else "half_pixel"
        if mode == "nearest":
            attrs["nearest_mode"] = "floor"
        if a.get("align_corners"):
            attrs["coordinate_transformation_mode"] = "align_corners"
        factors = a.get("scale_factors")
        if factors:
            attrs["scales"] = (1.0, 1.0, *(float(factor) for factor in factors))
        else:
            attrs["sizes"] = (0, 0, *_known(pen, pen.result()[2:]))
        return pen.add("Resize", pen.name(a["input"] if "input" in a else a["self"]), **attrs)

    return translate


def _embedding(pen: Pen, a: Args) -> str:
    return pen.add("Gather", pen.name(a["weight"]), pen.name(a["indices"]), axis=0)


def _same(pen: Pen, a: Args) -> str:
    return pen.name(a.get("self", a.get("input")))


ATEN: dict[str, Translation] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "convolution"), _conv),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _transposed),
    "batch_norm": _batch_norm,
    "_native_batch_norm_legit_no_training": _first(_batch_norm),
    "layer_norm": _layer_norm,
    "native_layer_norm": _first(_layer_norm),
    "linear": _linear,
    "addmm": _addmm,
    **dict.fromkeys(("mm", "bmm", "matmul"), _matmul),
    **dict.fromkeys(("t", "transpose", "permute"), _transpose),
    "relu": _plain("Relu"),
    "relu6": _plain("Clip", min=0.0, max=6.0),
    **dict.fromkeys(("hardtanh", "clamp", "clamp_min", "clamp_max"), _clip),
    "hardswish": _plain("HardSwish"),
    "hardsigmoid": _plain("HardSigmoid", alpha=1 / 6, beta=0.5),
    "sigmoid": _plain("Sigmoid"),
    "tanh": _plain("Tanh"),
    "silu": _silu,
    "leaky_relu": _leaky,
    **dict.fromkeys(("softmax", "_softmax"), _softmax("Softmax")),
    **dict.fromkeys(("log_softmax", "_log_softmax"), _softmax("LogSoftmax")),
    "dropout": _dropout,
    **dict.fromkeys(("max_pool1d", "max_pool2d", "max_pool3d"), _max_pool),
    "max_pool2d_with_indices": _first(_max_pool),
    **dict.fromkeys(("avg_pool1d", "avg_pool2d", "avg_pool3d"), _average_pool),
    **dict.fromkeys(("adaptive_avg_pool1d", "adaptive_avg_pool2d", "_adaptive_avg_pool2d"), _adaptive("AveragePool")),
    "adaptive_max_pool2d": _first(_adaptive("MaxPool")),
    "mean": _mean,
    **dict.fromkeys(("flatten", "view", "_unsafe_view", "reshape", "unflatten", "squeeze", "unsqueeze"), _reshape),
    "cat": _concat,
    "add": _two("Add"),
    "sub": _two("Sub"),
    "rsub": _reversed_sub,
    "mul": _two("Mul"),
    "div": _two("Div"),
    "slice": _slice,
    "select": _select,
    **dict.fromkeys(("split", "split_with_sizes", "chunk"), _split),
    **dict.fromkeys(("pad", "constant_pad_nd"), _pad),
    "upsample_nearest2d": _resize("nearest"),
    "upsample_bilinear2d": _resize("linear"),
    "embedding": _embedding,
    **dict.fromkeys(("contiguous", "clone", "detach", "alias"), _same),
}

# of these the result shares memory with the argument: a later write in place would reach both
VIEWS = frozenset(
    (
        *("t", "transpose", "permute", "flatten", "view", "_unsafe_view", "reshape", "unflatten", "squeeze"),
        *("unsqueeze", "slice", "select", "split", "split_with_sizes", "chunk", "contiguous", "detach", "alias"),
    )
)

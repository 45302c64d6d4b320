# SPDX-License-Identifier: Apache-2.0
"""A Caffe network's layers as they run in the phase TEST, old messages as new ones, and what feeds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from fireforge.base.errors import FireforgeError
from fireforge.importers.caffe_messages import V1_TYPES, LayerParameter
from fireforge.importers.caffe_wire import shape_of

TRAIN, TEST = 0, 1
DEPLOY = "deploy"  # the stage that DIGITS' networks name for use
MOST_LAYERS = 100_000
SOURCES = frozenset(("Data", "ImageData", "WindowData", "MemoryData", "HDF5Data", "DummyData", "Input"))
# layers that measure or do nothing: the answer does not depend on them
ASIDE = frozenset(
    (
        "Accuracy",
        "ContrastiveLoss",
        "EuclideanLoss",
        "HDF5Output",
        "HingeLoss",
        "InfogainLoss",
        "MultinomialLogisticLoss",
        "SigmoidCrossEntropyLoss",
        "Silence",
        "SoftmaxWithLoss",
    )
)


@dataclass(frozen=True, kw_only=True)
class Feed:
    """What a source of data tells of the pictures.

    Args:
      shapes: of each top, without the batch; None where the file does not tell it.
      means: for each channel, in Caffe's order (blue first).
      scale: the pixels are multiplied by it after the means are subtracted.
      mean_file: whether the means are a picture in another file.
    """

    shapes: dict[str, tuple[int, ...] | None]
    means: tuple[float, ...] = ()
    scale: float = 1.0
    mean_file: bool = False


def layers_of(net: Any, where: str | Path) -> list[Any]:
    """All layers of a NetParameter as LayerParameter messages, V1's translated.

    Args:
      net: a NetParameter.
      where: file, for errors.

    Returns:
      The layers in their order.

    Raises:
      FireforgeError: BAD_MODEL_FILE, if the network is of V0, or of V1 and V2 at once, or has too many layers.
    """
    if net.layer and net.layers:
        raise FireforgeError("BAD_MODEL_FILE", "old `layers` and new `layer` in one file", where=str(where))
    if len(net.layer) + len(net.layers) > MOST_LAYERS:
        what = f"{len(net.layer) + len(net.layers)} layers"
        raise FireforgeError("BAD_MODEL_FILE", what, where=str(where), allowed=f"at most {MOST_LAYERS}")
    if any(layer.HasField("layer") for layer in net.layers):
        do = "Caffe's upgrade_net_proto_text and upgrade_net_proto_binary"
        raise FireforgeError("BAD_MODEL_FILE", "layers of Caffe's first format (V0)", where=str(where), do=do)
    return list(net.layer) or [_upgraded(layer) for layer in net.layers]


def _upgraded(old: Any) -> Any:
    new = LayerParameter()
    kind = old.DESCRIPTOR.fields_by_name["type"].enum_type.values_by_number[old.type].name
    new.type = V1_TYPES.get(kind, kind)
    known = new.DESCRIPTOR.fields_by_name
    for field, value in old.ListFields():
        if field.name not in known or field.name in ("type", "param"):
            continue
        if isinstance(value, Message):
            getattr(new, field.name).CopyFrom(value)
        elif isinstance(value, (str, int, float)):
            setattr(new, field.name, value)
        else:
            getattr(new, field.name).MergeFrom(value)
    return new


def in_phase(net: Any, layers: Sequence[Any], phase: int) -> list[Any]:
    """The layers that take part in a phase, by their rules `include` and `exclude`.

    Args:
      net: a NetParameter, whose state gives level and stages.
      layers: of that network.
      phase: TRAIN or TEST.

    Returns:
      The layers that remain, in their order. Where a rule names the stage "deploy", that stage is on.
    """
    stages = set(net.state.stage)
    rules = [rule for layer in layers for rule in (*layer.include, *layer.exclude)]
    if any(DEPLOY in (*rule.stage, *rule.not_stage) for rule in rules):
        stages.add(DEPLOY)

    def meets(rule: Any) -> bool:
        right = not rule.HasField("phase") or rule.phase == phase
        right = right and (not rule.HasField("min_level") or net.state.level >= rule.min_level)
        right = right and (not rule.HasField("max_level") or net.state.level <= rule.max_level)
        return right and stages.issuperset(rule.stage) and stages.isdisjoint(rule.not_stage)

    return [
        layer
        for layer in layers
        if (any(map(meets, layer.include)) if layer.include else not any(map(meets, layer.exclude)))
    ]


def feed_of(net: Any, layers: Sequence[Any], stored: Mapping[str, Sequence[Any]], where: str | Path) -> Feed:
    """What goes into the network: its fields `input`, and its layers that are sources.

    Args:
      net: a NetParameter.
      layers: those of the phase.
      stored: blobs of each layer, for the number of channels where nothing else tells it.
      where: file, for errors.

    Returns:
      The feed.

    Raises:
      FireforgeError: BAD_MODEL_FILE, if there are inputs without sizes.
    """
    shapes: dict[str, tuple[int, ...] | None] = {}
    for i, name in enumerate(net.input):
        dims = net.input_shape[i].dim if i < len(net.input_shape) else net.input_dim[4 * i : 4 * i + 4]
        if len(dims) < 2:
            raise FireforgeError("BAD_MODEL_FILE", f"input {name[:80]!r} without sizes", where=str(where))
        shapes[name] = tuple(dims)[1:]
    means: tuple[float, ...] = ()
    scale, mean_file = 1.0, False
    for layer in layers:
        if layer.type not in SOURCES:
            continue
        shapes.update(_shapes(layer, _channels(layer, layers, stored)))
        held, old = layer.transform_param, _own(layer)
        means = means or tuple(held.mean_value)
        mean_file = mean_file or held.HasField("mean_file") or _told(old, "mean_file")
        scale = held.scale if held.HasField("scale") else old.scale if _told(old, "scale") else scale
    return Feed(shapes=shapes, means=means, scale=scale, mean_file=mean_file)


def _own(layer: Any) -> Any:
    """The parameters of a source under its own name; of these the oldest files hold scale, mean and crop."""
    return layer.image_data_param if layer.type == "ImageData" else layer.data_param


def _told(message: Any, name: str) -> bool:
    return bool(message.HasField(name))


def _channels(source: Any, layers: Sequence[Any], stored: Mapping[str, Sequence[Any]]) -> int:
    """Channels of the pictures: as many as there are means, or as the first convolution's numbers read."""
    held = source.transform_param
    if held.force_gray or (source.type == "ImageData" and not source.image_data_param.is_color):
        return 1
    if len(held.mean_value) > 1:
        return len(held.mean_value)
    for layer in layers:
        blobs = stored.get(layer.name) or layer.blobs
        if layer.type == "Convolution" and blobs and source.top and list(layer.bottom) == [source.top[0]]:
            shape = shape_of(blobs[0])
            return shape[1] * layer.convolution_param.group if len(shape) == 4 else 3
    return 3


def _shapes(layer: Any, channels: int) -> dict[str, tuple[int, ...] | None]:
    tops = list(layer.top)
    if layer.type in ("Input", "DummyData"):
        param = layer.input_param if layer.type == "Input" else layer.dummy_data_param
        dims = [tuple(shape.dim)[1:] for shape in param.shape]
        if layer.type == "DummyData" and not dims:
            dims = list(zip(param.channels, param.height, param.width))
        dims = dims * len(tops) if len(dims) == 1 else dims
        return {top: (dims[i] if i < len(dims) else None) for i, top in enumerate(tops)}
    shape: tuple[int, ...] | None = None
    crop = layer.transform_param.crop_size or (_own(layer).crop_size if layer.type != "MemoryData" else 0)
    if layer.type == "MemoryData":
        held = layer.memory_data_param
        shape = (held.channels, crop or held.height, crop or held.width)
    elif crop:
        shape = (channels, crop, crop)
    elif layer.type == "ImageData" and layer.image_data_param.new_height:
        shape = (channels, layer.image_data_param.new_height, layer.image_data_param.new_width)
    return {top: (shape if i == 0 else ()) for i, top in enumerate(tops)}

# SPDX-License-Identifier: Apache-2.0
"""Keras' description of a network, of versions 2 and 3, as a list of layers that say which layers they read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

from fireforge.base.errors import FireforgeError

MODELS = ("Functional", "Model")
DEEPEST = 50  # lists within lists, of the layers that a layer reads


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer.

    Args:
      kind: Keras' name of the class.
      name: of the layer.
      config: its parameters.
      inputs: names of the layers that it reads.
    """

    kind: str
    name: str
    config: dict[str, Any]
    inputs: tuple[str, ...]


def layers_of(model: dict[str, Any], *, where: str) -> tuple[list[Layer], str]:
    """The layers of a Sequential or functional model, each behind those that it reads.

    Args:
      model: the file's description.
      where: the file.

    Returns:
      The layers, and the name of the one whose tensor is the output.

    Raises:
      FireforgeError: UNSAFE_FILE, if a layer is code: a Lambda, or a class that is not Keras' own; UNKNOWN_OPERATOR, if
        the model is of another kind or a layer is called twice; BAD_MODEL_FILE, if the description is none.
    """
    kind, config = model.get("class_name"), model.get("config")
    rows = config if isinstance(config, list) else config.get("layers") if isinstance(config, dict) else None
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        _bad("its description lists no layers", where)
    for row in rows:
        _check_code(row, where)
    if kind == "Sequential":
        return _sequence(rows, where)
    if kind not in MODELS or not isinstance(config, dict):
        raise FireforgeError(
            "UNKNOWN_OPERATOR", f"a model of class {str(kind)[:80]}", where=where, allowed="Sequential"
        )
    layers = []
    for row in rows:
        calls = row.get("inbound_nodes") or []
        if not isinstance(calls, list):
            _bad(f"layer {str(row.get('name'))[:80]} reads {str(calls)[:80]}", where, allowed="a list of layers")
        if len(calls) > 1:
            what = f"layer {str(row.get('name'))[:80]} is called {len(calls)} times"
            raise FireforgeError("UNKNOWN_OPERATOR", what, where=where, allowed="once")
        layers.append(_layer(row, tuple(_read(calls, where)), where))
    outputs = config.get("output_layers")
    if isinstance(outputs, list) and len(outputs) == 1 and isinstance(outputs[0], list):
        outputs = outputs[0]
    if not isinstance(outputs, list) or not outputs or not isinstance(outputs[0], str):
        _bad(f"outputs {str(outputs)[:80]}", where, allowed="one")
    return _sorted(layers), outputs[0]


def _sequence(rows: list[dict[str, Any]], where: str) -> tuple[list[Layer], str]:
    """Layers that each read the one before; where the first is no InputLayer, it says the shape of its input."""
    layers: list[Layer] = []
    for row in rows:
        layer = _layer(row, (layers[-1].name,) if layers else (), where)
        if not layers and layer.kind != "InputLayer":
            layers.append(Layer(kind="InputLayer", name=f"{layer.name}_input", config=layer.config, inputs=()))
            layer = _layer(row, (layers[0].name,), where)
        layers.append(layer)
    return layers, layers[-1].name


def _layer(row: dict[str, Any], inputs: tuple[str, ...], where: str) -> Layer:
    kind, config = row.get("class_name"), row.get("config")
    name = config.get("name", row.get("name")) if isinstance(config, dict) else None
    if not isinstance(kind, str) or not isinstance(config, dict) or not isinstance(name, str) or not name:
        _bad(f"layer {str(row)[:80]}", where, allowed="class_name, and config with a name")
    return Layer(kind=kind, name=name, config=config, inputs=inputs)


def _check_code(row: dict[str, Any], where: str) -> None:
    """Refuse a layer that is code, by name."""
    kind, module = str(row.get("class_name")), str(row.get("module") or "keras")
    registered = str(row.get("registered_name") or "")
    if "Lambda" in kind or ">" in kind + registered or module.split(".")[0] not in ("keras", "tensorflow", "tf_keras"):
        what = f"layer {kind[:80]} is code, or of a class that is not Keras' own"
        raise FireforgeError("UNSAFE_FILE", what, where=where, allowed="Keras' own layers, without Lambda")


def _read(calls: Any, where: str, depth: int = 0) -> list[str]:
    """Names of the layers in one call: [name, node, tensor, ...] of Keras 2, keras_history of Keras 3."""
    if depth > DEEPEST:
        _bad("lists within lists", where)
    if isinstance(calls, dict):
        history = calls.get("keras_history")
        if isinstance(history, list) and history and isinstance(history[0], str):
            return [_first(history, where)]
        inner = [calls[key] for key in ("args", "config") if key in calls]
        return [name for item in inner for name in _read(item, where, depth + 1)]
    if not isinstance(calls, list):
        return []
    if len(calls) >= 3 and isinstance(calls[0], str) and type(calls[1]) is int:
        return [_first(calls, where)]
    return [name for item in calls for name in _read(item, where, depth + 1)]


def _first(history: list[Any], where: str) -> str:
    if any(index != 0 for index in history[1:3]):
        raise FireforgeError("UNKNOWN_OPERATOR", f"reads {str(history[:3])[:80]}", where=where, allowed="[name, 0, 0]")
    return str(history[0])


def _sorted(layers: list[Layer]) -> list[Layer]:
    """Every layer behind those that it reads; what is in a circle comes last and is refused by who reads it."""
    missing = [set(layer.inputs) for layer in layers]
    readers: dict[str, list[int]] = {}
    for i, names in enumerate(missing):
        for name in names:
            readers.setdefault(name, []).append(i)
    order: list[int] = []
    ready = [i for i, names in enumerate(missing) if not names]
    while ready:
        order += ready
        freed: list[int] = []
        for name in dict.fromkeys(layers[i].name for i in ready):
            for i in readers.pop(name, ()):
                missing[i].discard(name)
                freed += [] if missing[i] else [i]
        ready = sorted(freed)
    rest = [i for i, names in enumerate(missing) if names]
    return [layers[i] for i in (*order, *rest)]


def _bad(what: str, where: str, *, allowed: str = "") -> NoReturn:
    raise FireforgeError("BAD_MODEL_FILE", what, where=where, allowed=allowed)

# SPDX-License-Identifier: Apache-2.0
"""Which of a file's named arrays is which weight of a known network: by name, else by the order of definition."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

import numpy as np

from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Graph
from fireforge.base.tensorform import Dense, TensorForm
from fireforge.importers.drawing import finite

ROLES = ("weight", "bias", "running_mean", "running_var")
UNUSED = "num_batches_tracked"  # a counter of torch's batch norm, for training alone
SHOWN = 5  # names in an error
T = TypeVar("T")
Layers = dict[str, dict[str, str]]  # layer to role to the tensor's name
Pairs = list[tuple[str, str]]  # a layer of the file, a layer of the network


def need_known(known: Graph | None, where: str) -> Graph:
    """The network, for files that hold numbers alone.

    Args:
      known: what the user named.
      where: the file.

    Returns:
      The network.

    Raises:
      FireforgeError: BAD_WEIGHTS, if nobody named one.
    """
    if known is None:
        what = "the file holds numbers, and not the network that they belong to"
        raise FireforgeError("BAD_WEIGHTS", what, where=where, do="--net NAME")
    return known


def match(
    known: Graph, arrays: Mapping[str, np.ndarray], *, where: str
) -> tuple[dict[str, TensorForm], tuple[str, ...]]:
    """The weights of a network, out of named arrays.

    A prefix that all names share ("module.") is left out. Where most of the network's names are there, every array goes
    to its name. Where they are not, layers with filters and layers of batch norm go each in their order: that of the
    file, or where the file is sorted by name, by name with numbers counted and matrices last. Every shape must then
    agree, and layers that are called alike in the file must be called alike in the network; nothing may be left over.

    Args:
      known: the network.
      arrays: name to array, in the file's order.
      where: the file.

    Returns:
      Dense float32 for each weight; notes of what was read otherwise than it stands.

    Raises:
      FireforgeError: BAD_WEIGHTS, naming what is missing, left over, of another shape or could be meant otherwise.
    """
    notes: list[str] = []
    given = _floats(arrays, notes, where)
    wanted = {tensor.name: tensor for tensor in known.weights if not tensor.fixed}
    given = _unprefixed(given, wanted)
    if 2 * len(given.keys() & wanted.keys()) > len(wanted):
        sources = {name: name for name in wanted}
        _check_whole(given, wanted, where)
    else:
        sources = _by_order(given, known, where)
        examples = ", ".join(f"{name} is {source}" for name, source in list(sources.items())[:2])
        notes.append(f"the file's names are others than the network's; its layers were taken in order: {examples}")
    forms: dict[str, TensorForm] = {}
    for tensor in known.weights:
        if tensor.fixed:
            fixed = np.asarray(tensor.fixed, tensor.dtype)
            forms[tensor.name] = Dense(values=fixed.reshape(tensor.shape))  # type: ignore[arg-type]
            continue
        array = given[sources[tensor.name]]
        if _squeezed(array.shape) != _squeezed(tensor.shape):
            what = f"{sources[tensor.name][:80]} has shape {array.shape}"
            raise _bad(what, where, allowed=f"{tensor.shape}, that of {tensor.name}")
        values = _sound(array, np.dtype(np.float32), sources[tensor.name], meant=tensor.name, where=where)
        forms[tensor.name] = Dense(values=values.reshape(tensor.shape))  # type: ignore[arg-type]
    return forms, tuple(notes)


def match_names(
    wanted: Mapping[str, np.ndarray], arrays: Mapping[str, np.ndarray], *, where: str
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """The arrays of the names that are wanted, all of them and no others.

    A prefix that all names share ("module.") is left out, and torch's counters of batches.

    Args:
      wanted: name to an array of the shape and the dtype that are meant.
      arrays: name to array.
      where: the file.

    Returns:
      Name to array in the dtypes of `wanted`, and in its order; notes of what was read otherwise than it stands.

    Raises:
      FireforgeError: BAD_WEIGHTS, naming what is missing, left over, of another shape or no finite number.
    """
    notes: list[str] = []
    wanted = _uncounted(wanted)
    given = _unprefixed(_uncounted(arrays), wanted, least=1)
    _check_whole(given, wanted, where)
    for name, like in wanted.items():
        got = given[name]
        if got.shape != like.shape or (got.dtype.kind == "f") != (like.dtype.kind == "f"):
            what = f"{name[:80]} is {got.dtype} {got.shape}"
            raise _bad(what, where, allowed=f"{like.dtype} {like.shape}, that of the network")
    _note_kinds(given, notes)
    taken = {name: _sound(given[name], like.dtype, name, meant=name, where=where) for name, like in wanted.items()}
    return taken, tuple(notes)


def _sound(array: np.ndarray, dtype: np.dtype, name: str, *, meant: str, where: str) -> np.ndarray:
    """A copy in the dtype, refused where it is not finite there, or a variance below 0."""
    with np.errstate(over="ignore"):
        values = array.astype(dtype)
    if meant.endswith("running_var") and values.size and values.min() < 0:
        raise _bad(f"{name[:80]} holds a variance below 0", where)
    return finite(values, name)


def _note_kinds(arrays: Mapping[str, np.ndarray], notes: list[str]) -> None:
    kinds = sorted({str(array.dtype) for array in arrays.values() if array.dtype.kind == "f"} - {"float32"})
    if kinds:
        notes.append(f"numbers held as {', '.join(kinds)} become float32")


def _uncounted(named: Mapping[str, T]) -> dict[str, T]:
    """What is named, without torch's counters."""
    return {name: item for name, item in named.items() if name.rpartition(".")[2] != UNUSED}


def _floats(arrays: Mapping[str, np.ndarray], notes: list[str], where: str) -> dict[str, np.ndarray]:
    """The arrays without torch's counters; all must be floats."""
    kept = _uncounted(arrays)
    odd = next((name for name, array in kept.items() if array.dtype.kind != "f"), None)
    if odd is not None:
        raise _bad(f"{odd[:80]} holds {kept[odd].dtype}", where, allowed="floats")
    _note_kinds(kept, notes)
    return kept


def _unprefixed(given: dict[str, np.ndarray], wanted: Mapping[str, object], *, least: int = 2) -> dict[str, np.ndarray]:
    """The arrays without the first parts that all their names share, unless the network's names have them.

    A name keeps `least` parts.
    """
    while given and not given.keys() & wanted.keys():
        heads = {name.partition(".")[0] for name in given}
        if len(heads) != 1 or any(name.count(".") < least for name in given):
            break
        given = {name.partition(".")[2]: array for name, array in given.items()}
    return given


def _squeezed(shape: Iterable[object]) -> tuple[object, ...]:
    """The shape without ones at its end, so that (K, C) and (K, C, 1, 1) are the same; the first two axes stay."""
    sizes = list(shape)
    while len(sizes) > 2 and sizes[-1] == 1:
        sizes.pop()
    return tuple(sizes)


def _check_whole(given: Mapping[str, object], wanted: Mapping[str, object], where: str) -> None:
    missing = [name for name in wanted if name not in given]
    left = [name for name in given if name not in wanted]
    if missing or left:
        told = [f"missing: {_some(missing)}"] if missing else []
        raise _bad("; ".join([*told, f"left over: {_some(left)}"] if left else told), where)


def _by_order(given: Mapping[str, np.ndarray], known: Graph, where: str) -> dict[str, str]:
    """The network's name to the file's, layer by layer."""
    theirs, ours = _layers(given, where), _layers([w.name for w in known.weights if not w.fixed], where)
    order = _ordered(theirs, given)
    shapes = {tensor.name: tensor.shape for tensor in known.weights}
    pairs: Pairs = []
    for norm in (False, True):
        left = [layer for layer in order if ("running_mean" in theirs[layer]) == norm]
        right = [layer for layer in ours if ("running_mean" in ours[layer]) == norm]
        for their, our in zip(left, right):
            _check_layer(their, our, theirs=theirs[their], ours=ours[our], given=given, shapes=shapes, where=where)
        kind = "layers of batch norm" if norm else "layers with filters"
        if len(left) != len(right):
            more = f"left over: {_some(left[len(right) :])}" if len(left) > len(right) else ""
            more = more or f"missing: {_some(right[len(left) :])}"
            raise _bad(f"{len(left)} {kind}, the network has {len(right)}; {more}", where)
        pairs += zip(left, right)
    _check_names(pairs, where)
    return {ours[our][role]: theirs[their][role] for their, our in pairs for role in ours[our]}


def _layers(names: Iterable[str], where: str) -> Layers:
    layers: Layers = {}
    for name in names:
        layer, _, role = name.rpartition(".")
        if role not in ROLES:
            raise _bad(f"left over: {name[:80]}", where, allowed=f"names that end in {', '.join(ROLES)}")
        layers.setdefault(layer, {})[role] = name
    return layers


def _ordered(layers: Layers, given: Mapping[str, np.ndarray]) -> list[str]:
    """The layers in the order of the file; where it is sorted by name, which tells nothing, as people count."""
    kinds = {array.dtype for array in given.values()}
    lists = [[name for name, array in given.items() if array.dtype == kind] for kind in kinds]
    if any(names != sorted(names) for names in lists):
        return list(layers)
    return sorted(layers, key=lambda layer: (_is_matrix(layers[layer], given), _counted(layer)))


def _is_matrix(roles: Mapping[str, str], given: Mapping[str, np.ndarray]) -> bool:
    return "weight" in roles and given[roles["weight"]].ndim == 2


def _counted(name: str) -> list[tuple[int, str]]:
    """A key by which layer2 comes before layer10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d{1,9})", name) if part]


def _check_layer(
    their: str,
    our: str,
    *,
    theirs: Mapping[str, str],
    ours: Mapping[str, str],
    given: Mapping[str, np.ndarray],
    shapes: Mapping[str, tuple[int | str, ...]],
    where: str,
) -> None:
    """Refuse a layer whose tensors or shapes are not those of the network's layer."""
    if theirs.keys() != ours.keys():
        missing, left = sorted(ours.keys() - theirs.keys()), sorted(theirs.keys() - ours.keys())
        told = f"missing: {', '.join(missing) or 'nothing'}; left over: {', '.join(left) or 'nothing'}"
        raise _bad(f"layer {their[:80]} for {our}: {told}", where)
    for role in ours:
        got, need = given[theirs[role]].shape, shapes[ours[role]]
        if _squeezed(got) != _squeezed(need):
            raise _bad(f"{theirs[role][:80]} has shape {got}", where, allowed=f"{need}, that of {ours[role]} in order")


def _check_names(pairs: Pairs, where: str) -> None:
    """Refuse an order in which what is called alike in the file would not be called alike in the network.

    Layers at one depth of the names are compared by their last part, unless it is a number; layers at equal depth in
    both by the parts before it.
    """
    last: dict[tuple[int, str, int], tuple[str, str]] = {}
    before: dict[str, tuple[str, str]] = {}
    for their, our in pairs:
        mine, own = their.split("."), our.split(".")
        if not mine[-1].isdecimal() and not own[-1].isdecimal() and len(mine) == len(own):
            key = (len(mine), mine[-1], len(own))
            _agree(last.setdefault(key, (own[-1], their)), own[-1], their, our=our, where=where)
        if len(mine) == len(own) > 1:
            ends = ".".join(own[:-1])
            _agree(before.setdefault(".".join(mine[:-1]), (ends, their)), ends, their, our=our, where=where)


def _agree(first: tuple[str, str], part: str, their: str, *, our: str, where: str) -> None:
    if first[0] != part:
        what = f"in order {their[:80]} would be {our}, where {first[1][:80]} is a layer called {first[0]}: ambiguous"
        raise _bad(what, where, do="tensors with the network's own names")


def _some(names: list[str]) -> str:
    rest = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(name[:80] for name in names[:SHOWN]) + rest


def _bad(what: str, where: str, *, allowed: str = "", do: str = "") -> FireforgeError:
    return FireforgeError("BAD_WEIGHTS", what, where=where, allowed=allowed, do=do)

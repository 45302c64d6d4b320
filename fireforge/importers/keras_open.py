# SPDX-License-Identifier: Apache-2.0
"""The child that opens a Keras .h5: python -m fireforge.importers.keras_open FILE OUT writes its arrays to OUT.

It prints one line of JSON: Keras' version and the description of the network, or the error that stopped it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from fireforge.base.errors import FireforgeError
from fireforge.base.fresh import answer
from fireforge.base.package import package
from fireforge.importers.child import check_total, limit_memory
from fireforge.importers.safetensors_file import write_safetensors

MOST_CONFIG = 50_000_000  # characters


def main(path: str, out: str) -> int:
    """Read FILE and write OUT.

    Args:
      path: of a Keras file in HDF5.
      out: the .safetensors file to write, names "<layer>/<role>".

    Returns:
      The exit code.
    """
    return answer(lambda: _convert(path, out))


def _convert(path: str, out: str) -> dict[str, Any]:
    size = Path(path).stat().st_size
    h5py = package("h5py", extra="import")
    limit_memory(size)
    try:
        with h5py.File(path, "r") as file:
            if "model_config" not in file.attrs:
                what = "holds weights, and not the network that they belong to"
                raise FireforgeError("BAD_MODEL_FILE", what, where=path, allowed="a file of model.save")
            config, version = _text(file.attrs["model_config"]), _text(file.attrs.get("keras_version", ""))
            arrays = _arrays(h5py, file, size=size, where=path)
    except FireforgeError:
        raise
    except Exception as error:
        what = f"h5py cannot read it: {type(error).__name__}: {str(error)[:200]}"
        raise FireforgeError("BAD_MODEL_FILE", what, where=path) from error
    Path(out).write_bytes(write_safetensors(arrays))
    return {"config": config, "version": version}


def _text(value: Any) -> str:
    text = value.decode() if isinstance(value, bytes) else str(value)
    if len(text) > MOST_CONFIG:
        raise ValueError(f"a text of {len(text)} characters")
    return text


def _arrays(h5py: Any, file: Any, *, size: int, where: str) -> dict[str, Any]:
    """All floats of all layers; whatever lies in another file is refused."""
    found: dict[str, Any] = {}
    root = _inside(h5py, file, "model_weights", where)
    for layer in _names(root.attrs, "layer_names"):
        group = _inside(h5py, root, layer, where)
        for name in _names(group.attrs, "weight_names"):
            role = name.rpartition("/")[2].partition(":")[0]
            data = _inside(h5py, group, name, where)
            if data.external or data.is_virtual:
                raise _outside(f"the numbers of {name[:80]!r} lie in another file", where)
            if f"{layer}/{role}" in found or data.dtype.kind != "f" or data.dtype.itemsize > 8:
                raise ValueError(f"{layer[:80]}/{role[:80]} comes twice or holds {data.dtype}")
            found[f"{layer}/{role}"] = data
    check_total(sum(data.size * data.dtype.itemsize for data in found.values()), size, where)
    return {name: data[()] for name, data in found.items()}


def _inside(h5py: Any, group: Any, name: str, where: str) -> Any:
    """A member by its path, no part of which may be a link to somewhere else."""
    for part in filter(None, name.split("/")):
        link = group.get(part, getlink=True)
        if not isinstance(link, h5py.HardLink):
            raise _outside(f"{part[:80]!r} is a link to somewhere else", where)
        group = group[part]
    return group


def _names(attrs: Any, key: str) -> list[str]:
    """A list of names, which Keras cuts into key0, key1 and so on where it is long."""
    keys = [key] if key in attrs else []
    while not keys or keys[0] != key:
        if f"{key}{len(keys)}" not in attrs:
            break
        keys.append(f"{key}{len(keys)}")
    return [_text(name) for part in keys for name in attrs[part]]


def _outside(what: str, where: str) -> FireforgeError:
    return FireforgeError("UNSAFE_FILE", what, where=where, allowed="all numbers in the one file")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))

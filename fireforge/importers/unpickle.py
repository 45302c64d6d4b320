# SPDX-License-Identifier: Apache-2.0
"""The child that opens a torch pickle: python -m fireforge.importers.unpickle FILE OUT writes its tensors to OUT.

It prints one line of JSON: its notes, or the error that stopped it, and ends with 0 or 2.
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

from fireforge.base.errors import FireforgeError
from fireforge.base.fresh import answer
from fireforge.base.package import package
from fireforge.importers.child import check_total, limit_memory
from fireforge.importers.safetensors_file import write_safetensors

NESTS = ("state_dict", "model_state_dict", "model", "net", "params", "weights")  # keys under which it may lie
DEEPEST = 3
WHOLE = "dict of tensors"


def main(path: str, out: str) -> int:
    """Read FILE and write OUT.

    Args:
      path: of a torch file.
      out: the .safetensors file to write.

    Returns:
      The exit code.
    """
    return answer(lambda: _convert(path, out))


def _convert(path: str, out: str) -> dict[str, Any]:
    size = Path(path).stat().st_size
    torch = package("torch", extra="train")
    limit_memory(size)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _refusal(str(error), path) from error
    except Exception as error:
        what = f"torch cannot read it: {type(error).__name__}: {_line(error)}"
        raise FireforgeError("BAD_MODEL_FILE", what, where=path) from error
    notes: list[str] = []
    tensors = _found(content, torch, notes, path)
    check_total(sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()), size, path)
    arrays = {name: _array(name, tensor, torch, path) for name, tensor in tensors.items()}
    Path(out).write_bytes(write_safetensors(arrays))
    return {"notes": notes}


def _refusal(told: str, path: str) -> FireforgeError:
    """The error for a pickle that asks for something else than numbers, or that is damaged."""
    line = next((text.strip() for text in told.splitlines() if "GLOBAL" in text or "Unsupported" in text), "")
    if not line:
        return FireforgeError("BAD_MODEL_FILE", f"torch cannot read it: {told[-200:].strip()}", where=path)
    what = f"pickle files can run code; this one asks for more than numbers: {line[:200]}"
    return FireforgeError("UNSAFE_FILE", what, where=path, allowed="a state dict: names and tensors alone")


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:200]


def _found(content: Any, torch: Any, notes: list[str], path: str) -> dict[str, Any]:
    """The dict of tensors, which may lie within others."""
    inside: list[str] = []
    while len(inside) <= DEEPEST and isinstance(content, dict):
        tensors = {name: item for name, item in content.items() if isinstance(item, torch.Tensor)}
        nests = [name for name in NESTS if isinstance(content.get(name), dict)]
        if not nests and tensors:
            odd = [str(name)[:80] for name in content if name not in tensors]
            if odd:
                notes.append(f"left out, for they are no tensors: {', '.join(odd[:5])}")
            if not all(isinstance(name, str) for name in tensors):
                break
            return tensors
        if not nests:
            break
        inside.append(nests[0])
        left = [str(name)[:80] for name in content if name != nests[0]]
        if left:
            notes.append(f"read from {'.'.join(inside)!r}; left out beside it: {', '.join(left[:5])}")
        content = content[nests[0]]
    kind = type(content).__name__
    raise FireforgeError("BAD_WEIGHTS", f"holds {kind} and no {WHOLE}", where=path, allowed=f"{WHOLE}, also in a dict")


def _array(name: str, tensor: Any, torch: Any, path: str) -> Any:
    """A tensor as numpy; bfloat16 becomes float32, whole numbers int64."""
    plain = tensor.layout == torch.strided and not tensor.is_quantized and not tensor.is_complex()
    if not plain or tensor.is_meta:
        raise FireforgeError("BAD_WEIGHTS", f"{name[:80]} is {tensor.dtype}, {tensor.layout}", where=path)
    tensor = tensor.detach()
    if not tensor.dtype.is_floating_point:
        return tensor.to(torch.int64).numpy()
    known = (torch.float64, torch.float32, torch.float16)
    return (tensor if tensor.dtype in known else tensor.to(torch.float32)).contiguous().numpy()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))

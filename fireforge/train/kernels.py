# SPDX-License-Identifier: Apache-2.0
"""Kernels that torch.compile makes for one network, where a recipe asks for them."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator

import torch
from torch import nn

from fireforge.base.errors import FireforgeError
from fireforge.base.trial import Recipe

Forward = Callable[[torch.Tensor], torch.Tensor | tuple[torch.Tensor, ...]]  # several outputs: see `train_step`
COMPILERS = ("g++", "clang++", "c++")  # one of them makes the kernels of a CPU


def compilable(*, on_cpu: bool) -> bool:
    """Whether this machine has what torch.compile makes kernels with.

    Args:
      on_cpu: whether they run on the CPU, which asks for a C++ compiler; otherwise on a GPU, which asks for Triton.

    Returns:
      Whether it is there.
    """
    if not on_cpu:
        return importlib.util.find_spec("triton") is not None
    return any(shutil.which(name) for name in (os.environ.get("CXX", ""), *COMPILERS) if name)


def forward_of(module: nn.Module, recipe: Recipe) -> Forward:
    """What a training step calls: the module, or its compiled form where the recipe says so.

    A smaller last batch goes through the module as it is, since kernels for any size would be slower.

    Args:
      module: in training mode.
      recipe: its compile and batch are used.

    Returns:
      A function of a batch (N, C, H, W).
    """
    if not recipe.compile:
        return module
    torch.compiler.reset()  # of other networks in this process: after some of them it would no longer compile
    compiled = torch.compile(module)
    return lambda inputs: compiled(inputs) if len(inputs) == recipe.batch else module(inputs)


@contextlib.contextmanager
def making(recipe: Recipe) -> Iterator[None]:
    """Around a step: kernels are made when they are first called, those of the backward pass too.

    Args:
      recipe: its compile is used.

    Raises:
      FireforgeError: NOT_COMPILED, if they cannot be made.
    """
    if not recipe.compile:
        yield
        return
    from torch._dynamo.exc import TorchDynamoException
    from torch._inductor.exc import InductorError

    try:
        yield
    except (TorchDynamoException, InductorError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise FireforgeError("NOT_COMPILED", reason, do="a C++ compiler in PATH or CXX, or no compile") from error

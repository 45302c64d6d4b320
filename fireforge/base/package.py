# SPDX-License-Identifier: Apache-2.0
"""Packages that an extra brings, asked for where they are needed and named where they are missing."""

from __future__ import annotations

import importlib
from typing import Any

from fireforge.base.errors import Exit, FireforgeError


def package(name: str, *, extra: str = "", pip: str = "") -> Any:
    """A package that is not part of the bare install, imported in this process.

    Args:
      name: of the module.
      extra: of fireforge that brings it; "" where none does.
      pip: what brings it otherwise; "" for its own name.

    Returns:
      The module.

    Raises:
      FireforgeError: NO_PACKAGE, if it is not installed; exit 3.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        do = f'pip install "fireforge[{extra}]"' if extra else f"pip install {pip or name}"
        raise FireforgeError("NO_PACKAGE", f"{name} is not installed", do=do, exit_code=Exit.ENVIRONMENT) from error

# SPDX-License-Identifier: Apache-2.0
"""Labelled images and a budget in; the smallest, fastest network that meets it out, with the evidence."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

# public name -> (job that holds it, its name there); a name costs nothing until it is touched
PUBLIC = {
    "load": ("fireforge.jobs.predict", "load"),
    "build": ("fireforge.jobs.build", "build"),
    "plan": ("fireforge.jobs.plan", "plan"),
    "Budget": ("fireforge.base.budget", "Budget"),
    "Wish": ("fireforge.base.settings", "Wish"),
}


def __getattr__(name: str) -> Any:
    """The public functions, imported when first touched."""
    if name not in PUBLIC:
        raise AttributeError(f"module 'fireforge' has no attribute {name!r}")
    module, attribute = PUBLIC[name]
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    """Public names, for completion."""
    return [*PUBLIC, "__version__"]

# SPDX-License-Identifier: Apache-2.0
"""A recipe that the user gives, by name or as a file; what no training could make sense of is refused by name."""

from __future__ import annotations

import math
from collections.abc import Callable

from fireforge.base.errors import FireforgeError, lookup
from fireforge.base.files import read_json
from fireforge.base.settings import Settings
from fireforge.base.trial import Recipe
from fireforge.base.value import Value
from fireforge.train.recipe import RECIPES

ANY = ("at least 0", lambda number: number >= 0)
SHARE = ("0 to below 1", lambda number: 0 <= number < 1)
RANGES: dict[str, tuple[str, Callable[[float], bool]]] = {
    "epochs": ("1 or more", lambda number: number >= 1),
    "batch": ("1 or more", lambda number: number >= 1),
    **dict.fromkeys(("lr", "weight_decay", "warmup_epochs", "bias_times", "turn"), ANY),
    **dict.fromkeys(("momentum", "ema", "label_smoothing", "scale"), SHARE),
    **dict.fromkeys(("shift_px", "rotate_deg", "cutout_px", "mixup", "source_px"), ANY),
    "crop_area": ("above 0, to 1", lambda number: 0 < number <= 1),
    "colour": ("0 to 1", lambda number: 0 <= number <= 1),
}


def with_recipe(settings: Settings) -> Settings:
    """The settings with the recipe that their file holds, so that its content counts and not its name.

    Args:
      settings: their recipe and lr are used.

    Returns:
      The settings.

    Raises:
      FireforgeError: UNKNOWN_NAME, NO_FILE, BAD_JSON, or BAD_USAGE for a rate that is no number.
    """
    if settings.lr is not None and not math.isfinite(settings.lr):
        raise FireforgeError("BAD_USAGE", f"--lr {settings.lr}", allowed="a finite number of at least 0")
    if not settings.recipe.endswith(".json"):
        lookup(RECIPES, settings.recipe or "fitted", "recipe")
        return settings
    plain = read_json(settings.recipe)
    if not isinstance(plain, dict):
        what = "a recipe is an object with epochs, batch, lr and so on"
        raise FireforgeError("BAD_JSON", what, where=settings.recipe, do="recipe.json of a run's folder")
    try:
        given = Recipe.from_json(plain)
    except FireforgeError as error:
        name = error.where.removeprefix("Recipe").removeprefix(".")  # of the field
        what = f"{name}: {error.what}" if name else error.what
        raise FireforgeError(error.code, what, where=settings.recipe, allowed=error.allowed) from error
    _check(given, settings.recipe)
    _check(given.augment, settings.recipe)
    return settings.replace(recipe="", given=given)


def _check(value: Value, where: str) -> None:
    """Refuse a number outside its range, naming the field."""
    for name, (allowed, good) in RANGES.items():
        number = getattr(value, name, None)
        if number is not None and not good(number):
            raise FireforgeError("BAD_JSON", f"{name} is {number}", where=where, allowed=allowed)

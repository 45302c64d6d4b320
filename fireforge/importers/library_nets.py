# SPDX-License-Identifier: Apache-2.0
"""The one file that wraps timm and torchvision: a name to an untrained module and what its library says of it.

Nothing is ever downloaded: modules are built without pretrained numbers, and names that stand for a place on a network
are no names here.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from fireforge.base.errors import Exit, FireforgeError
from fireforge.base.pixels import FILTERS
from fireforge.base.preprocess import ImageSteps
from fireforge.base.recipes import steps_of

SIDE_PX = 224  # of an input, where torchvision does not say it
RECIPE = "torchvision"
TURNED = ("googlenet", "inception_v3")  # torchvision's files of these were trained on inputs that the module rescales
NEAR = 5  # names in an error
FAILURES = (  # what code of others that does not fit its torch stops with
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True, kw_only=True)
class Built:
    """A module and what its library says of it.

    Args:
      module: of torch, untrained.
      shape: (C, H, W) of its input.
      steps: how pictures become the input; None where the library does not say it, or says what ImageSteps cannot.
      labels: class names, where the library tells those of this very file.
      version: of the library.
      notes: what a user should check.
    """

    module: Any
    shape: tuple[int, int, int]
    steps: ImageSteps | None = None
    labels: tuple[str, ...] = ()
    version: str = ""
    notes: tuple[str, ...] = ()


def build_timm(name: str, *, file: str, classes: int | None) -> Built:
    """A network of timm, with the steps of its pretrained_cfg.

    Args:
      name: "resnet50" or, with a tag of timm's, "resnet50.a1_in1k"; the tag decides the steps.
      file: the name of the user's file; timm's tell nothing.
      classes: outputs; None for timm's own.

    Returns:
      The module, untrained.

    Raises:
      FireforgeError: NO_PACKAGE, if timm does not load; UNKNOWN_NAME; BAD_MODULE, if timm cannot build it so, or it has
        no classes.
    """
    timm = load_library("timm")
    base, _, tag = name.partition(".")
    _known(base, timm.list_models(), "timm")
    tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{base}.*")] if tag else []
    if tag and tag not in tags:
        raise FireforgeError("UNKNOWN_NAME", f"no tag {tag[:80]!r} of timm's {base}", allowed=", ".join(tags) or "none")
    given = {} if classes is None else {"num_classes": classes}
    module = _made("timm", name, lambda: timm.create_model(name, pretrained=False, **given))
    if getattr(module, "num_classes", None) == 0:
        raise FireforgeError("BAD_MODULE", f"timm's {name} has features and no classes", do="--classes N")
    told: dict[str, Any] = dict(module.pretrained_cfg)
    channels, height, width = told["input_size"]
    steps = timm_steps(told)
    notes = []
    if not tag and told.get("tag"):
        notes.append(
            f"steps as those of timm's {base}.{told['tag']}; --net timm/{base}.TAG where the file is another's"
        )
    if steps is None:
        notes.append(f"timm feeds it by {told.get('crop_mode')} and {told.get('interpolation')}: --preprocess says how")
    return Built(
        module=module,
        shape=(channels, height, width),
        steps=steps,
        version=str(timm.__version__),
        notes=tuple(notes),
    )


def timm_steps(told: dict[str, Any]) -> ImageSteps | None:
    """The steps of a pretrained_cfg.

    Args:
      told: "input_size" (C, H, W), "mean" and "std" of pixels from 0 to 1, "crop_pct", "crop_mode", "interpolation".

    Returns:
      The steps; None where timm does what ImageSteps cannot say.
    """
    channels, height, width = told["input_size"]
    share, mode, kind = told.get("crop_pct") or 0.875, told.get("crop_mode") or "center", told["interpolation"]
    sides = (int(height / share), int(width / share))
    if kind not in FILTERS or mode not in ("center", "squash") or channels not in (1, 3):
        return None
    if mode == "center" and height != width:
        return None
    return ImageSteps(
        channels=channels,
        resize=sides if mode == "squash" else sides[0],
        crop=(height, width),
        filter=kind,
        order="RGB" if channels == 3 else "L",
        mean=_in_pixels(told["mean"]),
        std=_in_pixels(told["std"]),
    )


def build_torchvision(name: str, *, file: str, classes: int | None) -> Built:
    """A network of torchvision for pictures and classes.

    Where the file has the name of one that torchvision published, steps and labels are those of that file. Otherwise
    steps are those on which all published files of the network agree, else the recipe "torchvision" at 224 px.

    Args:
      name: such as "resnet18".
      file: the name of the user's file.
      classes: outputs; None for 1000.

    Returns:
      The module, untrained.

    Raises:
      FireforgeError: NO_PACKAGE, if torchvision does not load; UNKNOWN_NAME; BAD_MODULE, if it cannot be built so.
    """
    models = load_library("torchvision.models")
    _known(name, models.list_models(module=models), "torchvision")
    published = list(models.get_model_weights(name))
    own = next((weights for weights in published if weights.url.rpartition("/")[2] == file), None)
    given: dict[str, Any] = {} if classes is None else {"num_classes": classes}
    notes = []
    if name in TURNED and own is not None:
        given["transform_input"] = True
    elif name in TURNED:
        notes.append(f"torchvision's published {name} rescales its input; this file is not taken for one of those")
    module = _made("torchvision", name, lambda: models.get_model(name, weights=None, **given))
    found = {torchvision_steps(weights.transforms()) for weights in ([own] if own is not None else published)}
    steps = found.pop() if len(found) == 1 else None
    if steps is None:
        steps = steps_of(RECIPE, (3, SIDE_PX, SIDE_PX))
        notes.append(f"torchvision tells no one way to feed it: the recipe {RECIPE!r} at {SIDE_PX} px, or --preprocess")
    return Built(
        module=module,
        shape=(3, *steps.crop),
        steps=steps,
        labels=tuple(own.meta["categories"]) if own is not None and classes is None else (),
        version=str(load_library("torchvision").__version__),
        notes=tuple(notes),
    )


def torchvision_steps(preset: Any) -> ImageSteps | None:
    """The steps of what torchvision calls ImageClassification.

    Args:
      preset: has crop_size, resize_size, interpolation, and mean and std of pixels from 0 to 1.

    Returns:
      The steps; None where it is something else.
    """
    fields = ("crop_size", "resize_size", "interpolation", "mean", "std")
    if not all(hasattr(preset, field) for field in fields):
        return None
    (crop,), (resize,), kind = preset.crop_size, preset.resize_size, preset.interpolation.value
    if kind not in FILTERS:
        return None
    mean, std = _in_pixels(preset.mean), _in_pixels(preset.std)
    return ImageSteps(channels=3, resize=resize, crop=(crop, crop), filter=kind, mean=mean, std=std)


def load_library(module: str) -> Any:
    """A package that need not be there.

    Args:
      module: such as "torchvision.models".

    Returns:
      The module.

    Raises:
      FireforgeError: NO_PACKAGE, if it is not installed or stops while it loads; exit 3.
    """
    library = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except FAILURES as error:
        lacks = getattr(error, "name", None) == library
        line = (str(error).strip().splitlines() or [""])[0][:200]
        what = f"{library} is not installed" if lacks else f"{library} does not load: {type(error).__name__}: {line}"
        do = f"pip install {library}" if lacks else "a torchvision that was built for this torch; timm needs one, too"
        raise FireforgeError("NO_PACKAGE", what, do=do, exit_code=Exit.ENVIRONMENT) from error


def _known(name: str, names: Collection[str], library: str) -> None:
    """Refuse a name that the library has not; that names nothing on a network either."""
    if name not in names:
        near = difflib.get_close_matches(name[:80], names, NEAR, cutoff=0.0)
        what = f"{library} has no network for pictures and classes called {name[:80]!r}"
        raise FireforgeError("UNKNOWN_NAME", what, allowed=f"{', '.join(near)} and {len(names) - len(near)} more")


def _made(library: str, name: str, make: Callable[[], Any]) -> Any:
    """What the library makes, or why it does not."""
    try:
        return make()
    except FAILURES as error:
        line = (str(error).strip().splitlines() or [""])[0][:200]
        what = f"{library} cannot build {name}: {type(error).__name__}: {line}"
        raise FireforgeError("BAD_MODULE", what) from error


def _in_pixels(values: Any) -> tuple[float, ...]:
    """Shares of 1 as pixel values 0 to 255, without the last digits of a product of binary fractions."""
    return tuple(round(255 * float(value), 9) for value in values)


BUILDERS: dict[str, Callable[..., Built]] = {"timm": build_timm, "torchvision": build_torchvision}

# SPDX-License-Identifier: Apache-2.0
"""What a training's gradients do on their way back, as a line for a terminal."""

from __future__ import annotations

from fireforge.base.gradients import Gradients, growth, ratio_words, verdict


def gradients(found: Gradients) -> list[str]:
    """The line of `train`, of the first look and of the last; none where nothing was seen or the layers are too few."""
    told = []
    for look in found.looks[:1] + found.looks[1:][-1:]:
        ratio = growth(look.outputs)
        when = f"after {look.epoch:g} epochs" if look.epoch else "at the first step"
        told += [f"{verdict(look.outputs)} {when} ({ratio_words(ratio)})"] if ratio is not None else []
    return [f"gradients, first layer beside the last but one: {'; '.join(told)}"] if told else []

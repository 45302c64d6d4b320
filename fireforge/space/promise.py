# SPDX-License-Identifier: Apache-2.0
"""What a short training promises for a long one."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fireforge.base.record import RunRecord
from fireforge.space.survey import Candidate

PRIOR = 0.07  # power of MACs times parameters by which the error falls, where the last training is e times as long


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """How the last training of a search compares with those of one rung.

    Args:
      times: as many times as long it lasts, by the clock.
      epochs: that it has at most.
      samples: pictures of an epoch.
    """

    times: float
    epochs: float = math.inf
    samples: float = math.inf

    def longer(self, record: RunRecord) -> float:
        """How many times as many pictures the last training sees than this one saw; at least 1."""
        done = record.metrics.get("train/epoch", ())
        if not done or not record.samples.get("train"):
            return max(1.0, self.times)
        seen = record.samples["train"] * done[-1] / self.samples
        return max(1.0, min(self.times, self.epochs / seen if seen else math.inf))


def promise(record: RunRecord, candidate: Candidate, outlook: Outlook) -> float:
    """What a short training is ranked by: its error, and the prior that heavier networks end lower; less is better.

    After few pictures networks of all sizes err about equally, and only later a heavy one draws away, so that a short
    training alone would always choose the light ones. The more of the training is still to come, the less its error
    tells and the more MACs and parameters do.

    Args:
      record: of the training.
      candidate: its network.
      outlook: of its rung.

    Returns:
      Error as a share, times (MACs times parameters) to the power of -PRIOR times the logarithm of how much longer the
      last training is.

    Source:
      Our own fit over five networks in searches of ten minutes on CIFAR-10, of 8 to 27 million MACs and 0.18 to 0.98
      million parameters: after the third rung they erred 27 to 35 %, after a training 15 times as long 13 to 16 %, and
      what was left of the error fell as the power -0.18 of the product. Beside it: the errors of ResNet-20 to 56 there
      (He et al. 2015, table 6) fall as the power -0.1 of the product.
    """
    power = PRIOR * math.log(outlook.longer(record))
    return float((1 - worth(record)) * (candidate.cost.macs * candidate.cost.params) ** -power)


def worth(record: RunRecord) -> float:
    """What a trial is ranked by: validation accuracy, -1 where nothing was judged."""
    return record.accuracy if record.accuracy is not None else -1.0

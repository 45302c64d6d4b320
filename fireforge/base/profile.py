# SPDX-License-Identifier: Apache-2.0
"""What a machine was measured to do: times of single kernels, peak rates, bandwidth."""

from __future__ import annotations

from dataclasses import dataclass

from fireforge.base.errors import FireforgeError
from fireforge.base.machine import Hardware
from fireforge.base.value import Value

Size = tuple[int, int, int]  # (C, H, W) of one image; what is flat has H = W = 1


@dataclass(frozen=True, kw_only=True)
class Kernel(Value):
    """One piece of work as a runtime does it for one image, layers that it fuses being one piece.

    Args:
      kind: "conv", "depthwise", "pool", ... as `fireforge.cost.kernels.kernels` names them.
      source: what it reads first.
      result: what it makes.
      taps: of a convolution or pooling window, R * S; 1 else.
      groups: of a convolution that is not depthwise.
      joined: tensors that it reads besides the first, such as the sum that is fused into a convolution.
    """

    kind: str
    source: Size
    result: Size
    taps: int = 1
    groups: int = 1
    joined: int = 0


@dataclass(frozen=True, kw_only=True)
class KernelTime(Value):
    """A kernel, and the least time that it was seen to take.

    Args:
      kernel: the work.
      us: microseconds.
    """

    kernel: Kernel
    us: float


@dataclass(frozen=True, kw_only=True)
class FormProfile(Value):
    """What a machine does in one number format.

    Args:
      times: of different kernels.
      call_us: of one prediction, besides its kernels.
      factor: that predictions are multiplied by: the median of measured over predicted of networks left out of the fit.
      margin: share by which nine of ten networks that were not fitted differ from their prediction, at most.
      peak_macs: best multiply-adds a second that were seen.
    """

    times: tuple[KernelTime, ...]
    call_us: float
    margin: float
    peak_macs: float
    factor: float = 1.0


@dataclass(frozen=True, kw_only=True)
class DeviceProfile(Value):
    """A machine and a runtime, measured once.

    Args:
      hardware: the machine.
      runtime: name and version.
      threads: that one operator used.
      block: channels that the runtime's blocked layout holds together in float32; 0 where it has none.
      forms: number format ("float32", "int8") to what was measured in it.
      bandwidth: bytes a second, read and written, of copying an array larger than the caches.
      anchor_ms: float32 time of the anchor network, to tell how the clock stood.
      networks: that were run for it.
      seconds: that it took.
    """

    hardware: Hardware
    runtime: str
    threads: int
    block: int
    forms: dict[str, FormProfile]
    bandwidth: float
    anchor_ms: float
    networks: int
    seconds: float

    def form(self, name: str) -> FormProfile:
        """What was measured in one number format.

        Args:
          name: "float32" or "int8".

        Returns:
          Its times, margin and peak.

        Raises:
          FireforgeError: NOT_PROFILED, if nothing was.
        """
        if name not in self.forms:
            raise FireforgeError(
                "NOT_PROFILED", f"{name} was not measured on {self.hardware.processor}", allowed=", ".join(self.forms)
            )
        return self.forms[name]

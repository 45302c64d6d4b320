# SPDX-License-Identifier: Apache-2.0
"""What a machine was measured to do: times of single kernels, peak rates, bandwidth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fireforge.base.errors import FireforgeError
from fireforge.base.machine import Hardware
from fireforge.base.value import Value

Size = tuple[int, int, int]  # (C, H, W) of one image; what is flat has H = W = 1
FORMS = ("float32", "int8")  # number formats that are measured
MOST_SIZE = 2**31  # of an axis, and of all other counts
MOST = 1e15  # of a time or a rate: above it the fit's sums lose their digits
MOST_SHARE = 1000.0  # of a margin, and of a factor or its inverse
BLOCKS = (0, 1, 4, 8, 16)  # channels that layouts hold together
MOST_TEXT = 200  # characters of a name


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

    Raises:
      FireforgeError: BAD_JSON naming the field, if a size or a count is none.
    """

    kind: str
    source: Size
    result: Size
    taps: int = 1
    groups: int = 1
    joined: int = 0

    def __post_init__(self) -> None:
        """Refuse sizes and counts that no work has."""
        if not self.kind:
            raise FireforgeError("BAD_JSON", "no kind", where="Kernel.kind")
        _check("Kernel.source", self.source, least=1, most=MOST_SIZE)
        _check("Kernel.result", self.result, least=1, most=MOST_SIZE)
        _check("Kernel.taps", [self.taps], least=1, most=MOST_SIZE)
        _check("Kernel.groups", [self.groups], least=1, most=MOST_SIZE)
        _check("Kernel.joined", [self.joined], least=0, most=MOST_SIZE)


@dataclass(frozen=True, kw_only=True)
class KernelTime(Value):
    """A kernel, and the least time that it was seen to take.

    Args:
      kernel: the work.
      us: microseconds.

    Raises:
      FireforgeError: BAD_JSON naming the field, if the time is none.
    """

    kernel: Kernel
    us: float

    def __post_init__(self) -> None:
        """Refuse times that no kernel takes."""
        _above("KernelTime.us", self.us)


@dataclass(frozen=True, kw_only=True)
class FormProfile(Value):
    """What a machine does in one number format.

    Args:
      times: of different kernels.
      call_us: of one prediction, besides its kernels.
      factor: that predictions are multiplied by: the median of measured over predicted of networks left out of the fit.
      margin: share by which nine of ten networks that were not fitted differ from their prediction, at most.
      peak_macs: best multiply-adds a second that were seen.

    Raises:
      FireforgeError: BAD_JSON naming the field, if there is no time, or a number is none that can be measured.
    """

    times: tuple[KernelTime, ...]
    call_us: float
    margin: float
    peak_macs: float
    factor: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what nothing can be foretold from."""
        if not self.times:
            raise FireforgeError("BAD_JSON", "no kernel was timed", where="FormProfile.times")
        _check("FormProfile.call_us", [self.call_us], least=0, most=MOST)
        _check("FormProfile.margin", [self.margin], least=0, most=MOST_SHARE)
        _above("FormProfile.peak_macs", self.peak_macs)
        _check("FormProfile.factor", [self.factor], least=1 / MOST_SHARE, most=MOST_SHARE)


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
      seed: that the networks were drawn from.

    Raises:
      FireforgeError: BAD_JSON naming the field, if a number is none that can be measured, or a form is unknown.
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
    seed: int

    def __post_init__(self) -> None:
        """Refuse what no machine gives."""
        unknown = sorted(set(self.forms).difference(FORMS))
        if unknown or not self.forms:
            what = f"the number format {unknown[0]!r}" if unknown else "no number format"
            raise FireforgeError("BAD_JSON", what, where="DeviceProfile.forms", allowed=", ".join(FORMS))
        _check("DeviceProfile.threads", [self.threads], least=1, most=MOST_SIZE)
        if self.block not in BLOCKS:
            allowed = ", ".join(map(str, BLOCKS))
            raise FireforgeError("BAD_JSON", f"got {self.block}", where="DeviceProfile.block", allowed=allowed)
        for name, text in (("hardware.processor", self.hardware.processor), ("runtime", self.runtime)):
            if not (0 < len(text) <= MOST_TEXT and text.isprintable()):
                raise FireforgeError("BAD_JSON", f"got {text[:40]!r}", where=f"DeviceProfile.{name}", allowed="a name")
        _check("DeviceProfile.networks", [self.networks], least=1, most=MOST_SIZE)
        _check("DeviceProfile.seconds", [self.seconds], least=0, most=MOST)
        _above("DeviceProfile.bandwidth", self.bandwidth)
        _above("DeviceProfile.anchor_ms", self.anchor_ms)

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


def _check(where: str, numbers: Sequence[float], *, least: float, most: float) -> None:
    """Refuse a number that is below or above what can be, or no number."""
    for number in numbers:
        if not least <= number <= most:
            raise FireforgeError("BAD_JSON", f"got {number}", where=where, allowed=f"{least:g} to {most:g}")


def _above(where: str, number: float) -> None:
    """Refuse what is not above 0, or so little that its inverse is beyond MOST."""
    _check(where, [number], least=1 / MOST, most=MOST)

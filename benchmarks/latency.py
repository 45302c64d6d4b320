# SPDX-License-Identifier: Apache-2.0
"""Claim: latency is known from the graph: float32 within 15 % for 90 % of networks, int8 within 20 % for 80 %.

    fireforge bench --profile -o profile.json
    python benchmarks/latency.py --profile profile.json --seed 7

Draws networks of the three design spaces from the seed, predicts each from its Graph and the profile, then times its
file in ONNX Runtime with as many threads as the profile: the least of 60 runs in six windows, an anchor network timed
in the same windows. Networks below 0.3 ms are not judged. The seed must not be the profile's own, whose networks the
profile knows.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections import Counter
from dataclasses import dataclass

import numpy as np

from fireforge.base.machine import this_machine, versions
from fireforge.base.profile import DeviceProfile
from fireforge.base.spec import NetSpec
from fireforge.cost.count import count
from fireforge.cost.latency import LatencyModel
from fireforge.jobs.blank_files import blank_files
from fireforge.jobs.profile import ANCHOR, JUDGED_MS, drawn
from fireforge.jobs.profiles import read_profile
from fireforge.nets.families import NETWORKS, build_graph
from fireforge.report.table import text_table
from fireforge.runtime.onnx_runtime import OnnxSession
from fireforge.runtime.profile import least_ms, quiet_ms, shown

RUNS = 10  # of one window
WINDOWS = 6  # spread over the whole benchmark, anchor and network in turns: 60 runs of each network in all
BOUNDS = {"float32": (0.15, 0.90), "int8": (0.20, 0.80)}
MOST = 4000  # draws


@dataclass
class Case:
    """A network in one number format, while it is timed."""

    spec: NetSpec
    form: str
    foretold_ms: float
    data: bytes
    ms: float = math.inf


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--networks", type=int, default=50)
    parser.add_argument("--verbose", action="store_true")
    asked = parser.parse_args()
    profile = read_profile(asked.profile)
    if asked.seed == profile.seed:
        parser.error(f"seed {asked.seed} drew the networks that the profile was fitted to: take another one")
    cases = drawn_cases(profile, asked.seed, asked.networks)
    anchor = OnnxSession(blank_files(NETWORKS[ANCHOR]())["float32"], threads=profile.threads)
    clock = timed(cases, anchor, threads=profile.threads) / profile.anchor_ms
    rows = []
    for form in BOUNDS:
        own = [case for case in cases if case.form == form and case.ms >= JUDGED_MS][: asked.networks]
        errors = [case.foretold_ms * clock / case.ms - 1 for case in own]
        rows.append(row(form, errors))
        if form == "float32":
            rates = np.array([count(build_graph(case.spec)).macs / case.ms for case in own])
            rows.append(row("MACs alone, float32", list(rates / np.median(rates) - 1)))
        if asked.verbose:
            for case, error in zip(own, errors):
                print(f"{case.spec.family:10} {form:8} {case.ms:8.3f} ms {error:+.3f}")
        print(form, dict(Counter(case.spec.family for case in own)))
    print("\n".join(text_table(("form", "N", "within 10 %", "15 %", "20 %", "median error", "worst"), rows)))
    print(f"anchor at {clock:.2f} of its time in the profile; {this_machine().processor}; {versions()}")


def drawn_cases(profile: DeviceProfile, seed: int, networks: int) -> list[Case]:
    """As many networks of each form as are wanted and some more, foretold to take long enough to be judged."""
    models = {form: LatencyModel(profile, form) for form in BOUNDS}
    wanted = dict.fromkeys(BOUNDS, round(1.6 * networks))
    cases = []
    for spec in itertools.islice(drawn(seed), MOST):
        graph = build_graph(spec)
        foretold = {form: model.predict(graph).ms for form, model in models.items() if wanted[form]}
        slow = {form: ms for form, ms in foretold.items() if ms >= 0.8 * JUDGED_MS}
        files = blank_files(spec) if slow else {}
        for form, ms in slow.items():
            wanted[form] -= 1
            cases.append(Case(spec=spec, form=form, foretold_ms=ms, data=files[form]))
        if not any(wanted.values()):
            break
    return cases


def timed(cases: list[Case], anchor: OnnxSession, *, threads: int) -> float:
    """Time all cases, window by window; the anchor's milliseconds as the profile has them."""
    beside, anchors = shown(anchor), []
    for _ in range(WINDOWS):
        for case in cases:
            session = OnnxSession(case.data, threads=threads)
            anchors.append(least_ms(anchor, beside, RUNS))
            case.ms = min(case.ms, least_ms(session, shown(session), RUNS))
    return quiet_ms(anchors)


def row(name: str, errors: list[float]) -> tuple[str, ...]:
    """Shares within the bounds."""
    size = np.abs(errors)
    shares = (f"{np.mean(size <= bound):.0%}" for bound in (0.1, 0.15, 0.2))
    return name, str(len(errors)), *shares, f"{np.median(errors):+.3f}", f"{size.max():.2f}"


if __name__ == "__main__":
    main()

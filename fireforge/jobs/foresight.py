# SPDX-License-Identifier: Apache-2.0
"""The latency of candidates, foretold before they are trained, and held against untrained files."""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from fireforge.base.deadline import Deadline
from fireforge.base.errors import FireforgeError
from fireforge.base.files import write_bytes
from fireforge.base.model import Model, dense
from fireforge.base.prediction import Foretold
from fireforge.base.profile import DeviceProfile
from fireforge.base.spec import NetSpec
from fireforge.base.trunk import trunk
from fireforge.cost.latency import Latency, LatencyModel
from fireforge.export.targets import pack
from fireforge.jobs.blank import blank_arrays
from fireforge.jobs.blank_files import blank_files
from fireforge.jobs.deliver import card_of
from fireforge.jobs.profile import ANCHOR, SECONDS, profile
from fireforge.jobs.profiles import check_threads, kept, usable, write_profile
from fireforge.jobs.scene import Scene, encoded
from fireforge.jobs.search import Search
from fireforge.nets.builder import Builder
from fireforge.nets.families import NETWORKS, build_graph
from fireforge.runtime.onnx_runtime import OnnxSession
from fireforge.runtime.pictures import as_array
from fireforge.runtime.predictor import load
from fireforge.runtime.profile import least_ms, shown
from fireforge.space.survey import Candidate

PROFILE_SHARE = 0.08  # of the search's time may go into measuring a machine that no profile is kept of
OWN = "profile.json"  # in a run's folder: the profile that it foretells by, also when it goes on
THREADS = 1  # by which latencies are limited and measured
LATE = "the time for it was over"
RUNS = 30
PICTURES = 16


class Foresight:
    """Foretells latencies for one dataset on one machine.

    Args:
      scene: its pictures are resized and normalized before the network, and that takes time too.
      profile: of the machine, with THREADS threads.

    Raises:
      FireforgeError: NOT_PROFILED, if it is of other threads.
    """

    def __init__(self, scene: Scene, profile: DeviceProfile) -> None:
        check_threads(profile, THREADS)
        self.scene, self.profile = scene, profile
        self.models = {form: LatencyModel(profile, form) for form in profile.forms}
        self._around: dict[tuple[int, ...], float] = {}

    def networks(self, specs: Sequence[NetSpec]) -> dict[str, list[Latency]]:
        """Number format to the time of each network alone."""
        graphs = [trunk(build_graph(spec)) for spec in specs]
        return {form: model.predict_all(graphs) for form, model in self.models.items()}

    def least_ms(self, specs: Sequence[NetSpec]) -> list[float]:
        """From pixels to label in the quicker format, if it is as much quicker than foretold as its margin allows."""
        forms = zip(*self.networks(specs).values())
        return [self.around_ms(spec) + min(one.least_ms() for one in of_all) for spec, of_all in zip(specs, forms)]

    def around_ms(self, spec: NetSpec) -> float:
        """What resizing, normalizing and labels take beside a network with this input; measured once a size."""
        size = spec.input_shape[1:]
        if size not in self._around:
            self._around[size] = _around_ms(self.scene, spec)
        return self._around[size]


def profile_for(search: Search) -> DeviceProfile:
    """The profile of the run's folder; where there is none, the one that is kept of this machine, or one made now.

    One that is made now takes a share of the search's time. The folder keeps whichever it is for when the run goes on.
    """
    path = search.run.path / OWN
    found = usable(path, threads=THREADS)
    if found is not None:
        return found
    found = kept(threads=THREADS)
    if found is None:
        left = search.clock.left()
        seconds = min(SECONDS, PROFILE_SHARE * left) if math.isfinite(left) else SECONDS
        found = profile(seconds=seconds, threads=THREADS, progress=search.progress)
    write_profile(found, path)
    return found


def quick(foresight: Foresight, candidates: Sequence[Candidate], limit_ms: float) -> list[str]:
    """The candidates that may keep a limit of latency; where none may, the quickest alone.

    Args:
      foresight: for the data and this machine.
      candidates: at least one.
      limit_ms: of one prediction.

    Returns:
      Digests of specifications, in order.
    """
    specs = [candidate.spec for candidate in candidates]
    times = dict(zip((spec.digest() for spec in specs), foresight.least_ms(specs)))
    within = [digest for digest, ms in times.items() if ms <= limit_ms]
    return within or [min(times, key=times.__getitem__)]


def held(foresight: Foresight, candidates: Sequence[Candidate], *, clock: Deadline) -> list[Foretold]:
    """Predictions of networks beside the times of their untrained files, at the clock of the moment.

    Args:
      foresight: for the data and this machine.
      candidates: any number.
      clock: no further network is measured when it is over.

    Returns:
      Two a network, float32 and int8; those that were not measured say why.
    """
    anchor = OnnxSession(blank_files(NETWORKS[ANCHOR]())["float32"], threads=THREADS)
    beside = shown(anchor)
    foretold = foresight.networks([candidate.spec for candidate in candidates])
    found = []
    for place, candidate in enumerate(candidates):
        spec = candidate.spec
        rows = [
            Foretold(
                spec=spec.digest(),
                family=spec.family,
                form=form,
                foretold_ms=times[place].ms,
                measured_ms=None,
                margin=times[place].margin,
                why=LATE,
                profile=words(foresight.profile),
            )
            for form, times in foretold.items()
        ]
        if not clock.over():
            rows = _measured(spec, rows, lambda: least_ms(anchor, beside, RUNS) / foresight.profile.anchor_ms)
        found += rows
    return found


def words(profile: DeviceProfile) -> str:
    """Where a profile is from, in one line."""
    drawn = f"{profile.networks} networks from seed {profile.seed} in {profile.seconds:.0f} s"
    return f"{profile.hardware.processor}, {profile.runtime}, {profile.threads} thread(s); {drawn}"


def _measured(spec: NetSpec, rows: Sequence[Foretold], speed: Callable[[], float]) -> list[Foretold]:
    """The rows of one network with the times of its files, or with the reason why there is no file."""
    try:
        files = blank_files(spec)
    except FireforgeError as error:
        return [row.replace(why=error.line()) for row in rows]
    found = []
    for row in rows:
        session = OnnxSession(files[row.form], threads=THREADS)
        foretold_ms = row.foretold_ms * speed()
        measured_ms = least_ms(session, shown(session), RUNS)
        found.append(row.replace(foretold_ms=foretold_ms, measured_ms=measured_ms, why=""))
    return found


def _around_ms(scene: Scene, spec: NetSpec) -> float:
    """A predictor with hardly a network in it, less that network."""
    own = scene.at(spec.input_shape[1:])
    b = Builder(spec)
    graph = b.graph(b.linear(b.flatten(b.global_average_pool(b.input)), spec.classes, name="classifier"))
    model = Model(graph=graph, weights=dense(blank_arrays(graph)), card=card_of(own))
    pictures = [as_array(encoded(scene.dataset, int(i))) for i in scene.part("val")[:PICTURES]]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "around.onnx"
        write_bytes(path, pack(model))
        predictor = load(path)
        session = OnnxSession(path)
        times = []
        for turn in range(RUNS + 3):
            start = time.perf_counter()
            predictor.predict(pictures[turn % len(pictures)])
            times.append(time.perf_counter() - start)
        network = least_ms(session, shown(session), RUNS)
    return max(statistics.median(times[3:]) * 1e3 - network, 0.0)

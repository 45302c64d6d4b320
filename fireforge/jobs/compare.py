# SPDX-License-Identifier: Apache-2.0
"""cost --compare: networks side by side, as printed, as counted and as measured on this machine, and the page of it."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fireforge.base.comparison import BatchMemory, Compared, Comparison, Speed
from fireforge.base.deadline import Deadline
from fireforge.base.errors import FireforgeError, lookup
from fireforge.base.files import cannot_write, prove_writable
from fireforge.base.graph import Graph
from fireforge.base.machine import this_machine, versions
from fireforge.base.progress import Progress, Update, silent
from fireforge.base.units import show_bytes, show_seconds
from fireforge.base.value import Value
from fireforge.cost.count import count
from fireforge.cost.memory import inference_memory
from fireforge.export.onnx_file import onnx_bytes
from fireforge.jobs.blank import blank_arrays
from fireforge.jobs.cost import shape_of
from fireforge.nets.families import NETWORKS, build_graph
from fireforge.nets.published import PUBLISHED
from fireforge.report.compare import write_comparison
from fireforge.runtime.events import block_of
from fireforge.runtime.gauge import Gauge, gauge_fresh
from fireforge.runtime.memory import free_bytes

TIMING = 0.5  # of the time, after which no network is timed once more; the rest is for memory
START_S = 0.5  # a fresh process takes about so long before its first run
RUNS = 3  # of a batch whose memory is measured, the first one included: the third may take more than the second
MOST_MINUTES = 1_000_000  # about two years
FREE = 0.5  # of the free memory that one network may take
ROOM = 1.5  # times the counted bytes, which a process takes at most


@dataclass(frozen=True, kw_only=True)
class Terms(Value):
    """How a comparison is made.

    Args:
      classes: outputs; None for each network's own.
      image: (C, H, W), or the side of a square; None for each network's own.
      minutes: of all measurements together; what does not fit is left out and named.
      batches: of memory, ascending, the first one 1.
      visits: fresh processes that each network is timed in, in turns with the others.
      runs: timed runs of a visit at most.
      most_bytes: of one measured process; None for half of what is free.
      threads: that one operator may use.
    """

    classes: int | None = None
    image: tuple[int, int, int] | int | None = None
    minutes: float = 5.0
    batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    visits: int = 3
    runs: int = 50
    most_bytes: int | None = None
    threads: int = 1


def compare_page(
    nets: Sequence[str], *, out: str | Path | None = None, terms: Terms | None = None, progress: Progress = silent
) -> tuple[Comparison, Path]:
    """Networks side by side, and the page of it.

    Args:
      nets: as for `compare`.
      out: the page's file; None for compare.html in the working folder.
      terms: as for `compare`.
      progress: receives updates.

    Returns:
      The comparison, and where its page is.

    Raises:
      FireforgeError: CANNOT_WRITE; what `compare` raises.
    """
    page = prove_writable(out or "compare.html")
    found = compare(nets, terms=terms, progress=progress)
    return found, write_comparison(found, page)


def compare(nets: Sequence[str], *, terms: Terms | None = None, progress: Progress = silent) -> Comparison:
    """Networks side by side.

    Args:
      nets: names of NETWORKS; none for all whose accuracy on ImageNet was published.
      terms: None for the defaults.
      progress: receives updates.

    Returns:
      The comparison; what was printed of a network stands in it only where classes and image are its own. A network
      that cannot be built for these classes and this image is named in `absent`.

    Raises:
      FireforgeError: UNKNOWN_NAME; BAD_UNIT, if there is no time; what `build_graph` raises of the first one, if none
        of the networks can be built.
    """
    terms = terms or Terms()
    if not 0 < terms.minutes < MOST_MINUTES:
        allowed = f"more than 0, less than {MOST_MINUTES:,}"
        raise FireforgeError("BAD_UNIT", f"{terms.minutes:g} minutes", where="--minutes", allowed=allowed)
    rows, graphs, absent = _networks(list(dict.fromkeys(nets)) or published_nets(), terms)
    with tempfile.TemporaryDirectory() as folder:
        gauges = _Gauges(graphs=graphs, terms=terms, file=Path(folder) / "network.onnx", progress=progress)
        rows = gauges.with_memory(gauges.with_speeds(rows))
    return Comparison(
        networks=tuple(rows),
        threads=terms.threads,
        hardware=this_machine(),
        versions=versions(),
        how=_how(terms),
        absent=absent,
    )


def published_nets() -> list[str]:
    """The networks whose accuracy on ImageNet was published, in the order of NETWORKS."""
    return [name for name in NETWORKS if name in PUBLISHED and PUBLISHED[name].top1 is not None]


def counted_bytes(graph: Graph, batches: Sequence[int], *, block: int) -> tuple[int, ...]:
    """Memory of a prediction by batch, as `fireforge.cost.memory` counts it; block is what it takes."""
    return tuple(inference_memory(graph, batch=batch, block=block).peak for batch in batches)


def _networks(names: Sequence[str], terms: Terms) -> tuple[list[Compared], dict[str, Graph], dict[str, str]]:
    """The networks before anything is measured, their graphs, and why others are not among them."""
    block = block_of() or 1
    presets = {name: lookup(NETWORKS, name, "network") for name in names}
    rows: list[Compared] = []
    graphs: dict[str, Graph] = {}
    refused: dict[str, FireforgeError] = {}
    for name in presets:
        try:
            row, graphs[name] = _network(name, terms, block)
        except FireforgeError as error:
            refused[name] = error
        else:
            rows.append(row)
    if not rows:
        raise next(iter(refused.values()))
    return rows, graphs, {name: f"{error.code}: {error.what}" for name, error in refused.items()}


def _network(name: str, terms: Terms, block: int) -> tuple[Compared, Graph]:
    """A network before anything is measured, and its graph."""
    preset = lookup(NETWORKS, name, "network")
    given = {"classes": terms.classes, "input_shape": shape_of(preset(), terms.image)}
    spec = preset(**{key: value for key, value in given.items() if value is not None})
    graph = build_graph(spec)
    row = Compared(
        name=name,
        family=spec.family,
        input_shape=spec.input_shape,
        cost=count(graph),
        published=PUBLISHED.get(name) if spec == preset() else None,
        memory=tuple(
            BatchMemory(batch=batch, counted_bytes=counted)
            for batch, counted in zip(terms.batches, counted_bytes(graph, terms.batches, block=block))
        ),
    )
    return row, graph


class _Gauges:
    """Measures networks one at a time, each in a fresh process, for as long as the clock allows."""

    def __init__(self, *, graphs: dict[str, Graph], terms: Terms, file: Path, progress: Progress) -> None:
        self._graphs, self._terms, self._file, self._progress = graphs, terms, file, progress
        self._clock = Deadline(60 * terms.minutes)
        free = free_bytes()
        self._most = terms.most_bytes or (None if free is None else round(FREE * free))

    def with_speeds(self, rows: Sequence[Compared]) -> list[Compared]:
        """The rows with speeds and the memory of one picture, in visits there and back.

        The first visit to a network may take place as long as there is time, the others in the share that is theirs.
        """
        found: dict[str, list[Gauge]] = {row.name: [] for row in rows}
        why = {row.name: self._too_great(row, row.memory[0]) for row in rows}
        total = self._terms.visits * len(rows)
        timing = self._clock.part(TIMING)
        for visit in range(self._terms.visits):
            for place, row in enumerate(rows if visit % 2 == 0 else rows[::-1]):
                done = visit * len(rows) + place
                self._tell("time", done, total, row.name)
                if not found[row.name] and not why[row.name] and self._clock.over():
                    why[row.name] = f"the {self._terms.minutes:g} minutes were over"
                if why[row.name] or (visit and timing.over()):
                    continue
                each_s = max(0.0, timing.left() / (total - done) - START_S)
                got = self._visit(row.name, batch=1, runs=self._terms.runs, seconds=each_s)
                if isinstance(got, Gauge):
                    found[row.name].append(got)
                else:
                    why[row.name] = got
        self._tell("time", total, total, "")
        return [_timed(row, found[row.name], why[row.name]) for row in rows]

    def with_memory(self, rows: Sequence[Compared]) -> list[Compared]:
        """The rows with the measured memory of greater batches: what takes least time is measured first."""
        found = {(row.name, at.batch): at for row in rows for at in row.memory}
        jobs = [
            (self._needs_s(row, at.batch), row, at) for row in rows for at in row.memory if at.measured_bytes is None
        ]
        jobs.sort(key=lambda job: job[0])
        for done, (needs_s, row, at) in enumerate(jobs):
            self._tell("memory", done, len(jobs), f"{row.name}, batch {at.batch}")
            found[row.name, at.batch] = self._memory(row, at, needs_s)
        self._tell("memory", len(jobs), len(jobs), "")
        return [row.replace(memory=tuple(found[row.name, at.batch] for at in row.memory)) for row in rows]

    def _memory(self, row: Compared, at: BatchMemory, needs_s: float) -> BatchMemory:
        why = row.why if row.speed is None else at.why or self._too_great(row, at)
        if not why and needs_s > self._clock.left():
            left = show_seconds(self._clock.left())
            why = f"would take about {show_seconds(needs_s)}, of {self._terms.minutes:g} minutes {left} were left"
        if why:
            return at.replace(why=why)
        return _measured(at, self._visit(row.name, batch=at.batch, runs=RUNS - 1, seconds=self._clock.left()))

    def _needs_s(self, row: Compared, batch: int) -> float:
        return START_S + (0.0 if row.speed is None else RUNS * batch * row.speed.median_ms / 1e3)

    def _too_great(self, row: Compared, at: BatchMemory) -> str:
        """Why a network does not fit the memory limit; "" where it does."""
        needs = ROOM * at.counted_bytes
        if self._most is None or needs <= self._most:
            return ""
        return f"may take {show_bytes(needs)} at batch {at.batch}, and {show_bytes(self._most)} are allowed"

    def _visit(self, name: str, *, batch: int, runs: int, seconds: float) -> Gauge | str:
        """One measurement in a fresh process, or why there is none."""
        graph = self._graphs[name]
        try:
            self._file.write_bytes(onnx_bytes(graph, blank_arrays(graph)))
        except OSError as error:
            raise cannot_write(self._file, error) from error
        limit_s = self._clock.left() + 60.0  # longer than any prediction of ours; for a process that hangs
        threads = self._terms.threads
        try:
            return gauge_fresh(self._file, batch=batch, runs=runs, seconds=seconds, threads=threads, limit_s=limit_s)
        except FireforgeError as error:
            return f"{error.code}: {error.what}"

    def _tell(self, stage: str, done: int, total: int, note: str) -> None:
        self._progress(Update(stage=stage, done=done, total=total, unit="measurement", note=note))


def _timed(row: Compared, visits: Sequence[Gauge], why: str) -> Compared:
    """The row with the speed and the memory that some visits found."""
    if not visits:
        return row.replace(why=why)
    times_ms = [time for visit in visits for time in visit.times_ms]
    median = statistics.median(times_ms)
    speed = Speed(
        images_per_second=1e3 / median, median_ms=median, least_ms=min(times_ms), runs=len(times_ms), visits=len(visits)
    )
    return row.replace(speed=speed, memory=(_measured(row.memory[0], visits[0]), *row.memory[1:]))


def _measured(at: BatchMemory, got: Gauge | str) -> BatchMemory:
    if isinstance(got, str):
        return at.replace(why=got)
    if got.memory_bytes is None:
        return at.replace(why="this system does not tell a process its peak memory")
    return at.replace(measured_bytes=got.memory_bytes, runs=len(got.times_ms) + got.warmup)


def _how(terms: Terms) -> dict[str, str]:
    return {
        "speed": f"ONNX Runtime, batch 1, {terms.threads} thread(s), float32, untrained weights; median of all timed "
        f"runs of {terms.visits} visits, in turns with the other networks, each in a fresh process after one run that "
        "is not timed; from input tensor to output tensor, no picture is decoded",
        "counted": "counted on the graph: what ONNX Runtime holds at most while it loads the network and runs it three "
        "times or more, with the input, and as a constant what it takes for itself",
        "measured": "peak resident memory of a fresh process over loading the network and running it, with the input, "
        "less what was resident before",
    }

# SPDX-License-Identifier: Apache-2.0
"""Pictures that are decoded anew in each epoch, by this process or by workers while the network trains."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from fireforge.base.errors import FireforgeError
from fireforge.base.preprocess import ImageSteps
from fireforge.base.trial import Augment
from fireforge.data.dataset import Dataset
from fireforge.train.hands import Hands
from fireforge.train.leader import Job
from fireforge.train.render import LostPicture, Renderer, Spent, Take
from fireforge.train.stopwatch import Stopwatch

AHEAD = 2  # batches that are rendered while another one is in use
LEAST_PIECE, MOST_PIECE = 4, 64  # pictures of a batch that a worker takes at once
ROOM = 256  # pictures of the batches that there is room for at least: validation takes so many


class Streamed:
    """Pictures of one or more parts, like `fireforge.train.feed.Pictures`, of which none is kept.

    The bits of a batch depend on the samples, seed and epoch, not on the number of workers.

    Args:
      dataset: where they are read.
      ids: sample ids, int64 (N,).
      steps: how they are made ready.
      workers: processes that render; 0 for this one, when a batch is asked for.
    """

    def __init__(self, dataset: Dataset, ids: np.ndarray, steps: ImageSteps, *, workers: int = 0) -> None:
        self._studio = _Studio(dataset, steps, workers)
        self.ids = np.asarray(ids, np.int64)
        self.labels = self._studio.targets[self.ids]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: np.ndarray) -> Streamed:
        """Some of the pictures, rendered by the same workers."""
        return self.beside(self.ids[rows])

    def beside(self, ids: np.ndarray) -> Streamed:
        """Other pictures of the same data, rendered by the same workers.

        Args:
          ids: sample ids, int64 (N,).

        Returns:
          The pictures, which end the workers when they are closed, as these do.
        """
        others = Streamed.__new__(Streamed)
        others.labels, others.ids, others._studio = self._studio.targets[ids], ids, self._studio
        return others

    def rest(self, augment: Augment) -> Augment:
        """What of a variation is left to be done on whole batches."""
        return augment.replace(crop_area=1.0, flip=False, source_px=0)

    def flow(self, plan: Sequence[np.ndarray], take: Take, clock: Stopwatch | None) -> Iterator[torch.Tensor]:
        """Batches in the order of a plan.

        Args:
          plan: rows of these pictures, one array for each batch.
          take: when and how.
          clock: is told the stages, and beside them what the workers took.

        Yields:
          uint8 (N, C, H, W), which may be overwritten when the next one is asked for.

        Raises:
          FireforgeError: a picture's own error, with its name; WORKER_DIED.
        """
        ids = [self.ids[rows] for rows in plan]
        studio = self._studio
        try:
            yield from studio.with_hands(ids, take, clock) if studio.workers else studio.alone(ids, take, clock)
        except LostPicture as lost:
            raise studio.named(lost) from lost

    @property
    def workers(self) -> int:
        """Processes that render."""
        return self._studio.workers

    def deaths(self) -> list[str]:
        """Workers that died and were replaced, in words."""
        return self._studio.deaths

    def close(self) -> None:
        """End the workers; a flow that is asked for later starts others."""
        self._studio.close()


class _Studio:
    """Who renders, and the memory that it is done in."""

    def __init__(self, dataset: Dataset, steps: ImageSteps, workers: int) -> None:
        self.workers = workers
        self.deaths: list[str] = []
        self.targets = dataset.targets
        self._dataset = dataset
        self._renderer = Renderer(dataset.reader, steps)
        self._shape = (steps.channels, *steps.crop)
        self._hands: Hands | None = None

    def alone(self, ids: list[np.ndarray], take: Take, clock: Stopwatch | None) -> Iterator[torch.Tensor]:
        """Batches that this process renders."""
        for some in ids:
            out = np.empty((len(some), *self._shape), np.uint8)
            spent = Spent()
            self._renderer.fill(out, some, take, spent.lap if clock is None else clock.lap)
            if clock is not None:
                clock.beside(spent.end())
            yield torch.from_numpy(out)

    def with_hands(self, ids: list[np.ndarray], take: Take, clock: Stopwatch | None) -> Iterator[torch.Tensor]:
        """Batches that workers render, AHEAD of them before they are asked for."""
        if not ids:
            return
        picture = math.prod(self._shape)
        most = max(map(len, ids)) * picture
        asked = time.perf_counter()
        hands, fresh = self._staff(most)
        owed: dict[int, int] = {}  # piece to its batch
        left = [0] * len(ids)  # pieces that a batch lacks

        def done(piece: int, spent: dict[str, float]) -> None:
            if piece in owed:
                left[owed.pop(piece)] -= 1
            if clock is not None:
                clock.beside(spent)

        halted = bool if clock is None else clock.halted  # bool() is False
        while hands.owes():
            hands.wait(lambda piece, spent: None, halted)  # what a flow that was left had ordered
        sent = 0
        for step, some in enumerate(ids):
            while sent < min(len(ids), step + AHEAD + 1):
                at = sent % (AHEAD + 1) * most
                for first in range(0, len(ids[sent]), size := self._piece(len(ids[sent]))):
                    piece = hands.order(at + first * picture, ids[sent][first : first + size], take)
                    owed[piece] = sent
                    left[sent] += 1
                sent += 1
            while left[step]:
                hands.wait(done, halted)
            if clock is not None:
                clock.lap("prepare" if fresh and not step else "wait")
                if fresh and not step:
                    clock.beside({"begin": time.perf_counter() - asked})
            at = step % (AHEAD + 1) * most
            out = np.frombuffer(hands.memory, np.uint8, len(some) * picture, at)
            yield torch.from_numpy(out.reshape(len(some), *self._shape))

    def named(self, lost: LostPicture) -> FireforgeError:
        """The error of a picture with its name."""
        error = lost.error
        where = error.where or self._dataset.where(lost.sample)
        return FireforgeError(
            error.code, error.what, where=where, allowed=error.allowed, do=error.do, exit_code=error.exit_code
        )

    def close(self) -> None:
        if self._hands is not None:
            self._hands.close()
            self._hands = None

    def _piece(self, count: int) -> int:
        """Pictures of one order: few enough that all workers are at the same batch."""
        return max(LEAST_PIECE, min(MOST_PIECE, -(-count // (2 * self.workers))))

    def _staff(self, most: int) -> tuple[Hands, bool]:
        """Workers with room for batches of so many bytes, and whether they are new."""
        if self._hands is not None and len(self._hands.memory) >= (AHEAD + 1) * most:
            return self._hands, False
        self.close()
        room = (AHEAD + 1) * max(most, ROOM * math.prod(self._shape))  # pages that are not used take no memory
        self._hands = Hands(Job(renderer=self._renderer, shape=self._shape), workers=self.workers, room=room)
        self._hands.deaths = self.deaths
        return self._hands, True

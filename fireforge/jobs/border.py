# SPDX-License-Identifier: Apache-2.0
"""What can be refused of a build before anything heavy is loaded: in half a second, and with nothing written."""

from __future__ import annotations

from pathlib import Path

from fireforge.base.budget import Budget
from fireforge.base.errors import FireforgeError, lookup
from fireforge.base.settings import Wish
from fireforge.data.formats.table import FORMATS
from fireforge.data.open import open_dataset
from fireforge.data.remote.address import is_address
from fireforge.jobs.folder import RunFolder, check_place
from fireforge.jobs.past import as_replayed, open_past
from fireforge.jobs.timetable import seconds_of
from fireforge.jobs.view import View
from fireforge.nets.families import NETWORKS


def check(data: str | Path, *, budget: Budget, wish: Wish, folder: Path, writes: bool = True) -> None:
    """Refuse what a build would refuse later: data that is not there, a place, a time, runs to go back to.

    Args:
      data: what `fireforge.data.open.open_dataset` takes; it is recognised, not read; a URL is fetched.
      budget: limits and time.
      wish: an earlier run and a run to replay are looked for.
      folder: of the run, there or not.
      writes: whether it will be written in.

    Raises:
      FireforgeError: the first of these that cannot be.
    """
    if writes:
        check_place(folder)
    replay = past_of(wish.replay, folder)
    if replay is None:
        seconds_of(budget)
    else:
        as_replayed(replay, budget, wish)
    if RunFolder(folder).entry("earlier") is None:
        past_of(wish.earlier, folder)
    if wish.net:
        lookup(NETWORKS, wish.net, "network")
    if is_address(str(data)):
        with View() as view:  # its own, so that the work's clock and view begin with the data here
            open_dataset(str(data), progress=view)
    elif not any(item.recognise(str(data)) for item in FORMATS.values()):
        open_dataset(data)  # says what is wrong


def past_of(path: str, folder: Path) -> RunFolder | None:
    """The run that a wish names.

    Args:
      path: of its folder; "" for none.
      folder: of the run that goes back to it.

    Returns:
      The run, not entered; None where none is named.

    Raises:
      FireforgeError: OTHER_RUN, if both are one; NO_RUN, if it is no build with a trained network.
    """
    if not path:
        return None
    if Path(path).resolve() == folder.resolve():
        raise FireforgeError("OTHER_RUN", "a run cannot go back to itself", where=path, do="another --out")
    return open_past(path)

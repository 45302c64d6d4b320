# SPDX-License-Identifier: Apache-2.0
"""Errors are one line, survive pickling, and carry their exit code; expected lines are written by hand."""

from __future__ import annotations

import pickle
from concurrent.futures import ProcessPoolExecutor

import pytest

from fireforge.base.errors import Exit, FireforgeError, lookup

WHOLE = FireforgeError(
    "IMG_EMPTY", "no bytes", where="a.jpg", allowed="JPEG", do="remove it", exit_code=Exit.ENVIRONMENT
)


def test_the_line_by_hand() -> None:
    assert str(WHOLE) == "IMG_EMPTY: a.jpg: no bytes; allowed: JPEG; try: remove it"
    assert str(FireforgeError("CODE", "what")) == "CODE: what"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\v", "\f", "\x85", "\u2028"])
def test_a_line_whatever_is_in_the_parts(end: str) -> None:
    error = FireforgeError("C", f"a{end}b", where=f"c{end}d", allowed=f"e{end}", do=f"{end}f")
    assert len(str(error).splitlines()) == 1
    assert "a b" in str(error)


def test_pickling_keeps_every_field() -> None:
    again = pickle.loads(pickle.dumps(WHOLE))
    assert vars(again) == vars(WHOLE)
    assert str(again) == str(WHOLE)


def _fail() -> None:
    raise WHOLE


def test_a_process_pool_hands_it_over_whole() -> None:
    with ProcessPoolExecutor(1) as pool, pytest.raises(FireforgeError) as caught:
        pool.submit(_fail).result()
    assert (caught.value.code, caught.value.exit_code) == ("IMG_EMPTY", Exit.ENVIRONMENT)


def test_exit_codes_as_documented() -> None:
    assert [int(code) for code in Exit] == [0, 1, 2, 3, 4, 5, 130]
    assert FireforgeError("C", "w").exit_code == Exit.BAD_INPUT


def test_lookup_lists_the_known_names_sorted() -> None:
    assert lookup({"b": 1, "a": 2}, "a", "letter") == 2
    with pytest.raises(FireforgeError, match="UNKNOWN_NAME: no letter called 'c'; allowed: a, b"):
        lookup({"b": 1, "a": 2}, "c", "letter")

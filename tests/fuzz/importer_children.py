# SPDX-License-Identifier: Apache-2.0
"""Opens hostile files in children that are forked instead of started: a line MODULE PATH OUT in, a line of JSON out.

Starting the importers' own child takes seconds, most of it for the libraries that it reads with; here these are read
once. The answer is what the child printed, how it ended, its processor seconds and its resident bytes.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
from typing import Any

LIBRARIES = {"fireforge.importers.keras_open": "h5py", "fireforge.importers.unpickle": "torch"}
MOST_SECONDS = 20  # of processor time, after which a child is ended


def child(module: Any, path: str, out: str, told: str) -> int:
    """What happens in the child; its exit code."""
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS, MOST_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    paper = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(paper, 1)
    os.dup2(paper, 2)
    try:
        code = module.main(path, out)
    except BaseException as error:  # noqa: BLE001 - it is told, and the child ends with it
        print("raised", repr(error)[:500])
        code = 1
    sys.stdout.flush()
    return int(code)


def main() -> None:
    for line in sys.stdin:
        name, path, out = line.rstrip("\n").split("\t")
        importlib.import_module(LIBRARIES[name])
        module = importlib.import_module(name)
        told = out + ".told"
        number = os.fork()
        if number == 0:
            os._exit(child(module, path, out, told))
        _, status, used = os.wait4(number, 0)
        with open(told, errors="replace") as file:
            text = file.read()
        os.unlink(told)
        ended = os.waitstatus_to_exitcode(status)
        answer = {"code": ended, "told": text, "seconds": used.ru_utime + used.ru_stime, "bytes": used.ru_maxrss * 1024}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""``python -m fireforge`` is the command line."""

from __future__ import annotations

from fireforge.cli.app import main

if __name__ == "__main__":
    main()

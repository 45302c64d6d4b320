# SPDX-License-Identifier: Apache-2.0
"""Lets the suites of this folder import the checks that they share."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.register_assert_rewrite("conformance_checks")
sys.path.insert(0, str(Path(__file__).parent))

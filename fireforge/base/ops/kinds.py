# SPDX-License-Identifier: Apache-2.0
"""Operators by what they do to numbers, for the rooms that treat a whole kind alike."""

from __future__ import annotations

# they move or choose numbers and make none, so that a quantization passes through them unchanged
MOVERS = ("MaxPool", "Concat", "Flatten", "Reshape", "Transpose", "Slice", "Split", "Gather")
# nothing outside training
IDLE = ("Dropout", "Identity")

# SPDX-License-Identifier: Apache-2.0
"""The values that pass between rooms and the arithmetic that both worlds share; imports numpy and Pillow only."""

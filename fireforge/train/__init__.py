# SPDX-License-Identifier: Apache-2.0
"""Plain loop, recipe, checkpoint: training one network on one machine."""

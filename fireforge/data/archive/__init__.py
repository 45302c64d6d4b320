# SPDX-License-Identifier: Apache-2.0
"""Zip and tar archives read where they lie: every member checked, none written to disk under its name."""

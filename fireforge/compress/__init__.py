# SPDX-License-Identifier: Apache-2.0
"""Stages that make a Model smaller or faster, each with one contract."""

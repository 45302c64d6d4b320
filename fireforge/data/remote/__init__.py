# SPDX-License-Identifier: Apache-2.0
"""Data that a URL names, fetched once into a cache of this machine and then read like any file."""

# SPDX-License-Identifier: Apache-2.0
"""Packed datasets: an index and files of pictures end to end; docs/data.md says what stands where, to the byte."""

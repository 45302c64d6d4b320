# SPDX-License-Identifier: Apache-2.0
"""Read, sniff and split labelled pictures, without torch."""

# SPDX-License-Identifier: Apache-2.0
"""One file a verb, each one readable function that chains rooms."""

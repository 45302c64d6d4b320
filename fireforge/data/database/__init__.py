# SPDX-License-Identifier: Apache-2.0
"""Pictures as records of a key-value database."""

# SPDX-License-Identifier: Apache-2.0
"""What a network costs, counted on its Graph before any training."""

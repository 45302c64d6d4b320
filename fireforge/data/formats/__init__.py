# SPDX-License-Identifier: Apache-2.0
"""One file for each way in which labelled pictures are stored."""

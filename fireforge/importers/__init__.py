# SPDX-License-Identifier: Apache-2.0
"""Other people's networks in: each importer turns a file or module into a Graph with weights."""

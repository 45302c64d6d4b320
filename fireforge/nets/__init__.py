# SPDX-License-Identifier: Apache-2.0
"""Families of networks, each a function from a NetSpec to a Graph, and the module that trains any Graph."""

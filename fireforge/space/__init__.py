# SPDX-License-Identifier: Apache-2.0
"""Design spaces, candidates under a budget, and the search among them."""

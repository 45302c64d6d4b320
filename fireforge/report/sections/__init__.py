# SPDX-License-Identifier: Apache-2.0
"""The page's sections: each file holds functions that take a run's evidence and return markup."""

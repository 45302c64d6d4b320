# SPDX-License-Identifier: Apache-2.0
"""A Model out, in the forms that runtimes read."""

# SPDX-License-Identifier: Apache-2.0
"""The closed list of operators: what each infers and computes, one family a file."""

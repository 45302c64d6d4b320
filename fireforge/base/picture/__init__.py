# SPDX-License-Identifier: Apache-2.0
"""What an encoded picture is, read from its bytes before any decoder sees them."""

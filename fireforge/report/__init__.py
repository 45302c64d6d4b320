# SPDX-License-Identifier: Apache-2.0
"""Tables, plots, the HTML report and the model card, from records alone."""

# SPDX-License-Identifier: Apache-2.0
"""Run an artefact: sessions, predictor, measurement, parity."""

# SPDX-License-Identifier: Apache-2.0
"""What scikit-learn fits: the one file that imports it, and turns what comes out into numpy arrays."""

from __future__ import annotations

import contextlib
import importlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fireforge.base.errors import Exit, FireforgeError
from fireforge.baseline.planes import Planes

MODULES = ("svm", "linear_model", "neural_network", "cluster")
Notes = tuple[str, ...]


def warm_up() -> None:
    """Import what the baselines use, which takes a second, so that it counts for none of them.

    Raises:
      FireforgeError: NO_PACKAGE, if scikit-learn is not installed.
    """
    for name in MODULES:
        _module(name)


def one_thread() -> contextlib.AbstractContextManager[object]:
    """While it lasts, numpy's products use one thread; scikit-learn brings what does it.

    Small products are no faster with several, much slower where others use the cores too, and rounding depends on it.
    """
    limits: contextlib.AbstractContextManager[object] = _module("threadpoolctl", "").threadpool_limits(1)
    return limits


def fit_svm(features: np.ndarray, labels: np.ndarray, *, penalty: float, seed: int) -> tuple[Planes, Notes]:
    """A linear support vector machine, one class against the rest, squared hinge loss.

    Args:
      features: float32 (N, D).
      labels: int (N,), at least two classes.
      penalty: C, the weight of the losses beside half the squared norm.
      seed: of the solver's order.

    Returns:
      The planes and notes.
    """
    model = _module("svm").LinearSVC(C=penalty, random_state=seed, dual="auto", tol=1e-3)
    notes = _fit(lambda: model.fit(features, labels))
    return _planes([model.coef_.T], [model.intercept_], model.classes_), notes


@dataclass(frozen=True, kw_only=True)
class Terms:
    """How a logistic regression is fitted.

    Args:
      penalty: C, the weight of the losses beside half the squared norm.
      rounds: of the solver at most.
      intercept: whether the planes have one; without, theirs is 0.
    """

    penalty: float
    rounds: int
    intercept: bool = True


def fit_logistic(features: np.ndarray, labels: np.ndarray, terms: Terms) -> tuple[Planes, Notes]:
    """Multinomial logistic regression.

    Args:
      features: float32 (N, D), centred.
      labels: int (N,), at least two classes.
      terms: penalty, rounds, intercept.

    Returns:
      The planes and notes.
    """
    solver = _module("linear_model").LogisticRegression
    model = solver(C=terms.penalty, max_iter=terms.rounds, fit_intercept=terms.intercept)
    notes = _fit(lambda: model.fit(features, labels))
    stopped = int(np.max(model.n_iter_)) >= terms.rounds
    told = tuple(note for note in notes if "failed to converge" not in note)
    told += (f"stopped after {terms.rounds} rounds, before it converged",) if stopped else ()
    return _planes([model.coef_.T], [model.intercept_], model.classes_), told


def fit_perceptron(
    features: np.ndarray, labels: np.ndarray, *, hidden: int, passes: int, seed: int
) -> tuple[Planes, Notes]:
    """A perceptron with one hidden layer of ReLUs, trained by Adam.

    Args:
      features: float32 (N, D), centred.
      labels: int (N,), at least two classes.
      hidden: units of the hidden layer.
      passes: over the data, exactly.
      seed: of weights and order.

    Returns:
      The planes and notes.
    """
    model = _module("neural_network").MLPClassifier(
        (hidden,), max_iter=passes, n_iter_no_change=passes, batch_size=min(64, len(labels)), random_state=seed
    )
    notes = _fit(lambda: model.fit(features, labels))
    told = tuple(note for note in notes if "Maximum iterations" not in note)  # the passes are meant, no shortfall
    return _planes(model.coefs_, model.intercepts_, model.classes_), told


def fit_centres(features: np.ndarray, *, count: int, seed: int) -> tuple[np.ndarray, Notes]:
    """Centres of clusters by k-means on small batches, seeded by k-means++.

    Args:
      features: float32 (N, D).
      count: of clusters, at most N.
      seed: of seeds and batches.

    Returns:
      float64 (count, D) and notes.
    """
    model = _module("cluster").MiniBatchKMeans(count, batch_size=1024, n_init=1, random_state=seed)
    notes = _fit(lambda: model.fit(features))
    return np.asarray(model.cluster_centers_, np.float64), notes


def _fit(fit: Callable[[], object]) -> Notes:
    """Run a fit on one thread; what it warns of becomes notes, each once."""
    with one_thread(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit()
    lines = [" ".join(str(warning.message).split()) for warning in caught]
    return tuple(dict.fromkeys(f"scikit-learn: {line.split('. ')[0][:160]}" for line in lines))


def _planes(weights: Any, biases: Any, classes: np.ndarray) -> Planes:
    """As float32; where one unit tells two classes apart it becomes two, one for each."""
    weights, biases = list(weights), list(biases)
    if len(classes) == 2 and weights[-1].shape[1] == 1:
        weights[-1] = np.concatenate([-weights[-1], weights[-1]], axis=1)
        biases[-1] = np.concatenate([-biases[-1], biases[-1]])
    return Planes(
        weights=tuple(np.ascontiguousarray(array, np.float32) for array in weights),
        biases=tuple(np.asarray(array, np.float32) for array in biases),
        classes=np.asarray(classes, np.int64),
    )


def _module(name: str, package: str = "sklearn.") -> Any:
    try:
        return importlib.import_module(package + name)
    except ImportError as error:
        raise FireforgeError(
            "NO_PACKAGE",
            "the baselines are fitted by scikit-learn, which is not installed",
            do='pip install "fireforge[train]"',
            exit_code=Exit.ENVIRONMENT,
        ) from error

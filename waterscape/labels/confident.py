"""Which labels confident learning doubts (Northcutt 2021, doi:10.1613/jair.1.12125), by the package cleanlab."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from waterscape.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def require_cleanlab() -> None:
    """Raise `UserError` where the package is not installed."""
    try:
        import cleanlab.filter  # noqa: F401  # only to know that it is there
    except ImportError as error:
        raise UserError(
            "the recipe confident wants the package cleanlab: pip install 'waterscape[confident]', or choose another"
        ) from error


def doubted(water: NDArray[np.bool_], probability: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which labels (N) are called mistakes, given the probability of water (N) by networks that were not taught them.

    A label is doubted that lies off the diagonal of the confident joint: its pixel is at least as probably of the other
    class as the pixels of that class are on average.
    """
    require_cleanlab()
    from cleanlab.filter import find_label_issues

    if water.all() or not water.any():
        return np.zeros(water.shape, bool)
    both = np.stack([1 - probability, probability], axis=1).astype(np.float64)
    found: NDArray[np.bool_] = find_label_issues(
        water.astype(np.int64), both, filter_by="confident_learning", min_examples_per_class=0, n_jobs=1
    )
    return found

"""Where a classifier or an encoder sees samples."""

from untrained_runs import shapes

from waterscape.metrics.judged import embedding


def test_no_samples_are_seen_nowhere():
    """As an empty split gives; the table and pictures beside it are empty too."""
    run = shapes()
    assert embedding(run.recipe, run.networks, []).shape == (0, 2)

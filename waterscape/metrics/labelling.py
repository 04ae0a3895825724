"""The shape labels that packing gives to water bodies: `sources` stands below `metrics` and is handed them."""

from __future__ import annotations

from waterscape.metrics.morphology import CLASSES, COLUMNS, bodies, dominant
from waterscape.sources.occurrence_sample import Labelling

LABELLING = Labelling(bodies, dominant, CLASSES, COLUMNS)

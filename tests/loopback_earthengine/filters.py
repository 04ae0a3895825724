"""Filters on collections."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from loopback_earthengine.faults import ServiceError
from loopback_earthengine.images import Image
from loopback_earthengine.operations import World, operation
from loopback_earthengine.values import Date, DateRange, Feature, Filter, as_date, as_geometry


def _comparison(words: tuple[str, ...], compare: Callable[[Any, Any], bool]) -> None:
    @operation(*(f"Filter.{word}" for word in words))
    def make(_world: World, left: str, right_value: Any, right: str, left_value: Any) -> Filter:
        def keeps(element: Any) -> bool:
            one = element.properties.get(left) if left is not None else left_value
            other = element.properties.get(right) if right is not None else right_value
            return one is not None and other is not None and bool(compare(one, other))

        return Filter(keeps)


_comparison(("equals", "eq"), lambda one, other: one == other)
_comparison(("notEquals", "neq"), lambda one, other: one != other)
_comparison(("lessThan", "lt"), lambda one, other: one < other)
_comparison(("lessThanOrEquals", "lte"), lambda one, other: one <= other)
_comparison(("greaterThan", "gt"), lambda one, other: one > other)
_comparison(("greaterThanOrEquals", "gte"), lambda one, other: one >= other)
_comparison(("inList",), lambda one, other: other in one if isinstance(one, list) else one in other)
_comparison(("listContains",), lambda one, other: other in one)


@operation("Filter.dateRangeContains")
def date_range_contains(_world: World, _left: str, _value: Any, right: str, left_value: DateRange) -> Filter:
    def keeps(element: Any) -> bool:
        time = element.properties.get(right)
        time = time.milliseconds if isinstance(time, Date) else time
        return time is not None and left_value.start <= time < left_value.end

    return Filter(keeps)


@operation("Filter.intersects")
def intersects(_world: World, _left: str, right_value: Any, _right: str, _left_value: Any, _error: Any) -> Filter:
    wanted = as_geometry(right_value).degrees()

    def keeps(element: Image | Feature) -> bool:
        there = element.footprint if isinstance(element, Image) else as_geometry(element).degrees()
        return there is None or there.intersects(wanted)

    return Filter(keeps)


@operation("Filter.calendarRange")
def calendar_range(_world: World, start: int, end: int | None, unit: str) -> Filter:
    parts = {"month": lambda at: at.month, "year": lambda at: at.year, "day_of_year": lambda at: at.timetuple().tm_yday}
    if unit not in parts:
        raise ServiceError(501, f"the loopback knows no calendar field {unit}")
    last = start if end is None else end

    def keeps(element: Any) -> bool:
        time = as_date(element.properties["system:time_start"]).milliseconds / 1000
        at = parts[unit](datetime.fromtimestamp(time, UTC))
        return start <= at <= last if start <= last else at >= start or at <= last

    return Filter(keeps)


@operation("Filter.and")
def both(_world: World, filters: list[Filter]) -> Filter:
    return Filter(lambda element: all(each.keeps(element) for each in filters))


@operation("Filter.or")
def either(_world: World, filters: list[Filter]) -> Filter:
    return Filter(lambda element: any(each.keeps(element) for each in filters))


@operation("Filter.not")
def neither(_world: World, rule: Filter) -> Filter:
    return Filter(lambda element: not rule.keeps(element))

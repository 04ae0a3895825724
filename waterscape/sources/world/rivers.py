"""Running water and where it ends: rivers, braided rivers, deltas, coasts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from waterscape.sources.world.channels import beside, cut_off, meander, valley, wander
from waterscape.sources.world.noise import fractal, look_up
from waterscape.sources.world.terrain import SIZE, path
from waterscape.sources.world.waters import DEEP, DRY, Water, shore, towards

if TYPE_CHECKING:
    from waterscape.sources.world.channels import Beside, Line
    from waterscape.sources.world.noise import Field, Lot
    from waterscape.sources.world.terrain import Site


VANISHED = 7.0  # how far below nothing a width must fall until its bed is dry


def river(site: Site) -> list[Water]:
    """A river that meanders along the terrain's valley, with its flood plain and sometimes an oxbow lake."""
    lot, terrain = site.lot.under("river"), site.terrain
    base = valley(path(terrain.downstream, terrain.inlet), lot.uniform("smooth", 15, 40))
    width, swing = 2.2 * 8.0 ** lot.uniform("width"), 0.2 + 1.6 * lot.uniform("swing") ** 1.2
    wavelength = lot.uniform("wavelength", 9, 16) * width + lot.uniform("longer", 10, 50)
    course = meander(lot, base, wavelength, swing)
    lines = [course]
    if swing > 1.2:
        course, oxbow = cut_off(course, int(wavelength))
        lines = [course] if oxbow is None else [course, oxbow]
    widths = [width * (1 + 0.3 * wander(lot, f"width {k}", len(line), 40, len(line))) for k, line in enumerate(lines)]
    if width < 7 and lot.chance("headwater", 0.4):
        fade = _taper(course, lot)
        widths[0] = widths[0] * fade - VANISHED * (1 - fade)
    place = beside(lines, widths)
    height = _flood_plain(lot, place)
    kinds = ("river", "lake")[: len(lines)]
    return [Water(kind, np.where(place.line == number, height, DRY)) for number, kind in enumerate(kinds)]


def _flood_plain(lot: Lot, place: Beside) -> Field:
    """Height above a channel, its banks and the uneven plain beside it, which rises towards the valley's sides."""
    outside = place.distance - place.width / 2
    plain = fractal(lot, "plain", 14, 3, SIZE, torus=True)
    bars = look_up(plain, place.along * np.float32(0.8), place.offset * np.float32(2.5))  # ridges along the channel
    flood = np.float32(lot.uniform("flood", 2.6, 5.5)) + np.float32(1.6) * plain + np.float32(0.8) * bars
    flood += np.maximum(outside, 0) * np.float32(lot.uniform("valley", 0.02, 0.1))
    bank = outside * np.float32(lot.uniform("bank", 0.9, 2.2))
    return np.where(outside < 0, np.maximum(bank, DEEP), np.minimum(bank, np.maximum(flood, 2.2)))


def _taper(line: Line, lot: Lot) -> Line:
    """Factors of width that fade to nothing inside the tile: a stream that begins here, or dries up here too."""
    inside = np.flatnonzero(((line > 15) & (line < SIZE - 15)).all(axis=1))
    if len(inside) < 120:
        return np.ones(len(line))
    place = np.arange(len(line))
    source = np.clip((place - inside[0]) / 60, 0, 1)
    mouth = np.clip((inside[-1] - place) / 60, 0, 1) if lot.chance("dries", 0.7) else 1.0
    return np.asarray(source * mouth)


def braided_river(site: Site) -> list[Water]:
    """Threads that part and join within a belt of bars."""
    lot, terrain = site.lot.under("braided"), site.terrain
    base = valley(path(terrain.downstream, terrain.inlet), lot.uniform("smooth", 35, 60))
    belt = lot.uniform("belt", 18, 44)
    count = len(base)
    pinch = 0.75 + 0.25 * wander(lot, "belt", count, 60, count)
    fade = _taper(base, lot) if lot.chance("short", 0.3) else np.ones(count)
    pinch *= fade
    place = beside([base], [belt * pinch])
    at = place.along.clip(0, count - 1).astype(np.int32)
    outside = np.full((SIZE, SIZE), np.float32(99))
    for number in range(3 + int(belt / 12) + lot.integer("threads", 0, 1)):
        sway = wander(lot, f"thread {number}", count, 38, count) + 0.5 * wander(lot, f"sway {number}", count, 18, count)
        width = (2.2 + 1.6 * wander(lot, f"width {number}", count, 25, count)) * (1 + belt / 60)
        centre = (sway * 0.5 * belt * pinch).astype(np.float32)
        half = ((np.maximum(width, 0.8) * fade - VANISHED * (1 - fade) ** 4) / 2).astype(np.float32)
        outside = np.minimum(outside, np.abs(place.offset - centre[at]) - half[at])
    bars = fractal(lot, "bars", 30, 2, SIZE)
    height = np.maximum(outside * np.float32(1.1), DEEP) + np.float32(0.8) * bars
    edge = place.distance - place.width * np.float32(0.65)
    height = np.where(outside > 0, np.minimum(height, np.maximum(2.4 + 1.5 * bars, 2.0) + np.maximum(edge, 0)), height)
    return [Water("braided river", height + np.maximum(edge - 4, 0))]


def coast(site: Site) -> list[Water]:
    """The sea along an uneven shore: bays, capes, islands."""
    lot = site.lot.under("coast")
    ahead, _ = towards(lot.uniform("heading", high=2 * np.pi))
    uneven = fractal(lot, "shore", lot.integer("cells", 3, 5), 5, SIZE, gain=lot.uniform("gain", 0.4, 0.55))
    outside = np.float32(lot.uniform("place", -50, 60)) - ahead + np.float32(lot.uniform("rugged", 8, 75)) * uneven
    return [Water("coast", shore(outside, lot.uniform("slope", 0.4, 1.5)))]


def delta(site: Site) -> list[Water]:
    """A river that parts over and over on its own fan before it meets the sea."""
    lot = site.lot.under("delta")
    heading = lot.uniform("heading", high=2 * np.pi)
    ahead, right = towards(heading)
    apex, radius = lot.uniform("apex", -75, -35), lot.uniform("radius", 85, 125)
    uneven = fractal(lot, "shore", 8, 4, SIZE, gain=0.55)
    beyond_fan = np.hypot(ahead - np.float32(apex), right) - np.float32(radius)
    seaward = ahead - np.float32(apex + lot.uniform("bay", 25, 60))
    outside = 14 * uneven - np.minimum(beyond_fan, seaward)
    plain = np.maximum(3.2 + 1.5 * uneven, 2.2)
    sea = np.where(outside < 0, np.maximum(outside * np.float32(0.5), DEEP), np.minimum(0.8 * outside, plain))
    place = beside(*_distributaries(lot, apex, radius, heading))
    channels = np.maximum((place.distance - place.width / 2) * np.float32(1.4), DEEP)
    return [Water("delta", np.minimum(sea, channels))]


def _distributaries(lot: Lot, apex: float, radius: float, heading: float) -> tuple[list[Line], list[Line]]:
    """A feeder and the channels that it parts into, each with its widths."""
    forward = np.array([np.sin(heading), np.cos(heading)])
    start = SIZE / 2 + forward * apex
    width = lot.uniform("width", 4, 9)
    back = np.arange(190, -1, -1.0)
    sway = wander(lot, "feeder", len(back), 45, len(back)) * back / 16
    lines = [start - back[:, None] * forward + sway[:, None] * np.array([forward[1], -forward[0]])]
    widths = [np.full(len(back), width)]
    growing = [(start, heading, width, 1)]
    while growing:
        here, turn, wide, order = growing.pop()
        one = lot.under(len(lines))
        length = int(one.uniform("length", 0.2, 0.42) * radius) if order < 5 else int(radius)
        bend = turn + 0.6 * wander(one, "bend", length, 22, length)
        lines.append(here + np.cumsum(np.stack([np.sin(bend), np.cos(bend)], axis=1), axis=0))
        widths.append(np.full(length, wide))
        end = lines[-1][-1]
        if order < 5 and np.hypot(*(end - start)) < 1.1 * radius:
            fork, outward = one.uniform("fork", 0.3, 0.6), heading + float(np.clip(turn - heading, -1, 1))
            narrower = max(wide * one.uniform("narrower", 0.65, 0.85), 1.8)
            growing += [(end, outward + fork, narrower, order + 1), (end, outward - fork, narrower, order + 1)]
    return lines, widths

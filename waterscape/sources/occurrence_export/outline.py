"""Where the ground of an export comes from: a country's outline as Earth Engine has it, or GeoJSON.

Countries are those of the Large Scale International Boundary polygons (`USDOS/LSIB_SIMPLE/2017`, of the United States'
Department of State; public domain), by the two letters of FIPS 10-4 in `country_co`. These are not those of ISO 3166:
RS is Russia, RI is Serbia, GM is Germany, GA is Gambia.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from waterscape.durable import write_text
from waterscape.errors import UserError
from waterscape.sources.area import area_of, read_area
from waterscape.sources.earthengine import explained
from waterscape.sources.occurrence_export.parts import REFERENCE_COUNTRY, Part, named, reference_names

if TYPE_CHECKING:
    from pathlib import Path

BOUNDARIES = "USDOS/LSIB_SIMPLE/2017"
CODE = re.compile(r"[A-Z]{2}")
OUTLINE = "outline.geojson"
NAMES = ("name", "NAME", "Name", "title", "id")
"""Properties by which a feature of GeoJSON may be called."""


def check_code(country: str) -> None:
    """Raises `UserError` for what cannot be a country."""
    if not CODE.fullmatch(country):
        raise UserError(f"--country {country}: give the two capital letters of `country_co` in {BOUNDARIES}, as RS")


def kept_outline(folder: Path, country: str) -> dict[str, Any] | None:
    """The outline that an earlier start left in the folder; None where there is none. Raises `UserError`."""
    file = folder / OUTLINE
    if not file.exists():
        return None
    try:
        outline = dict(json.loads(file.read_text()))
    except (ValueError, TypeError) as error:
        raise UserError(f"{file} is damaged: take it out, and it is asked for again") from error
    if outline.get("country") != country:
        raise UserError(f"{file} is of {outline.get('country')}, not of {country}: give --out another folder")
    return outline


def ask_outline(folder: Path, country: str) -> dict[str, Any]:
    """Ask Earth Engine, whose client is connected, for a country's outline, and keep it in the folder.

    Raises:
        UserError: there is no such country.
        EarthEngineError: it could not be asked.
    """
    import ee

    with explained(f"asking for the outline of {country}"):
        found = ee.FeatureCollection(BOUNDARIES).filter(ee.Filter.eq("country_co", country)).getInfo()
        features = [{key: each[key] for key in ("type", "geometry", "properties")} for each in found["features"]]
    if not features:
        raise UserError(
            f"--country {country}: {BOUNDARIES} has no such country; its codes are those of FIPS 10-4, not of ISO 3166 "
            "(RS is Russia, RI is Serbia, GM is Germany)"
        )
    outline = {"type": "FeatureCollection", "country": country, "source": BOUNDARIES, "features": features}
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / OUTLINE, json.dumps(outline) + "\n")
    return outline


def country_parts(outline: dict[str, Any]) -> list[Part]:
    """The parts of a country: its features that have ground, those of Russia by the reference's names.

    Raises `UserError` where the outline is damaged.
    """
    country = str(outline["country"])
    areas = []
    for number, feature in enumerate(outline["features"], 1):
        areas.append(area_of(feature, f"{OUTLINE}, feature {number}", mend=True))
    names = reference_names(areas) if country == REFERENCE_COUNTRY else None
    if names is None:
        names = [country] if len(areas) == 1 else [f"{country}-{number}" for number in range(1, len(areas) + 1)]
    return named(zip(names, areas, strict=True))


def file_parts(path: Path) -> list[Part]:
    """The parts of a GeoJSON file: a FeatureCollection's features by their names, else all of it by the file's.

    Raises `UserError` (see `read_area`), and where features overlap.
    """
    import shapely

    whole = read_area(path)
    content = json.loads(path.read_text(encoding="utf-8-sig"))
    if content["type"] != "FeatureCollection":
        return named([(path.stem, whole)])
    features = [each for each in content["features"] if each.get("geometry", each)]
    found = []
    for number, feature in enumerate(features, 1):
        told = feature.get("properties") or {}
        if not isinstance(told, dict):
            raise UserError(
                f"{path}, feature {number} has properties that are no object: give names and values, or null"
            )
        name = next((str(told[key]) for key in NAMES if told.get(key)), f"{path.stem}-{number}")
        found.append((name if len(features) > 1 else path.stem, area_of(feature, f"{path}, feature {number}")))
    parts = named(found)
    tree = shapely.STRtree([part.area.shape for part in parts])
    for one, other in tree.query(tree.geometries, predicate="intersects").T.tolist():
        if one < other and (parts[one].area.shape & parts[other].area.shape).area > 1e-9:
            raise UserError(f"{path}: {parts[one].name} and {parts[other].name} overlap; ground belongs to one part")
    return parts

"""From a study area to shards by the command lines that a user writes, each a process of its own."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
import shapely
from key_files import certificate, key_file
from loopback_earthengine import serve
from packed_photos import samples
from programs import run_program
from signed_access import HOST, Front, Tokens
from summers import heights, scene, served

from waterscape.data.manifest import Manifest
from waterscape.sources.area import Area
from waterscape.sources.landsat.bands import BANDS
from waterscape.sources.landsat.grid import tiles_over

SIZE = 64
LAKE = [[37.500, 55.000], [37.520, 55.000], [37.510, 55.008], [37.500, 55.000]]
"""A triangle on more than one tile."""


def done(*words, **environment):
    program = run_program(*words, **environment)
    assert program.returncode == 0, program.stderr
    return program.stdout


@pytest.fixture
def tiles():
    return tiles_over(Area(shapely.MultiPolygon([shapely.Polygon(LAKE)])), "utm", SIZE)


@pytest.fixture
def server(tiles):
    """Holds three scenes of their ground."""
    left, top = min(tile.transform[2] for tile in tiles), max(tile.transform[5] for tile in tiles)
    ground = (30.0, 0.0, left - 300, 0.0, -30.0, top + 300)
    scenes = [scene("EPSG:32637", ground, f"2020-0{month}-03", month, 300) for month in (6, 7, 8)]
    srtm, glo30 = (heights("EPSG:32637", ground, 300, 5, name) for name in ("elevation", "DEM"))
    with serve(**served(scenes, srtm, [glo30])) as running:
        yield running


@pytest.fixture
def export(tmp_path):
    """The command line of the export."""
    area = tmp_path / "area.geojson"
    area.write_text(json.dumps({"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [LAKE]}}))
    words = ("--area", area, "--year", 2020, "--out", tmp_path / "exports", "--project", "demo-water")
    return ("tools/export_landsat.py", *words, "--tile-size", SIZE)


@pytest.mark.long
def test_a_service_accounts_key_file_is_enough(export, tiles, server, tmp_path):
    """Through TLS, for elsewhere no credentials are sent; the certificate is of this test, and trusted by it alone."""
    pem = certificate(tmp_path, HOST)
    with Tokens() as tokens, Front(pem, server.url) as front:
        key_file(tmp_path / "key.json", f"{tokens.url}/token")
        access = {"EARTHENGINE_URL": f"https://{HOST}", "SSL_CERT_FILE": str(pem), "NO_PROXY": "", "no_proxy": ""}
        access |= {"HTTPS_PROXY": front.url, "https_proxy": front.url}
        nobody = {"HOME": str(tmp_path), "CLOUDSDK_CONFIG": str(tmp_path), "NO_GCE_CHECK": "true"}
        refused = run_program(*export, **access, **nobody, GOOGLE_APPLICATION_CREDENTIALS="")
        assert (refused.returncode, front.let_in) == (1, 0)
        assert "nobody has signed in to Earth Engine here" in refused.stderr
        key = {"GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "key.json")}
        told = done(*export, **access, **nobody, **key)
    assert f"{len(tiles)} of {len(tiles)} tiles written, 0 failed" in told
    assert front.let_in == len(server.requests) > len(tiles)
    assert {claims["iss"] for claims in tokens.claims} == {"me@demo.example"}
    assert "earthengine" in tokens.claims[0]["scope"]


@pytest.mark.long
def test_an_areas_file_becomes_shards_that_are_whole(export, tiles, server, tmp_path):
    exports, shards = tmp_path / "exports", tmp_path / "shards"
    foretold = done(*export, "--dry-run", EARTHENGINE_URL=server.url)
    assert not server.requests
    told = done(*export, EARTHENGINE_URL=server.url)
    assert server.count("computePixels") == len(tiles) > 1
    assert f"{len(tiles)} requests" in foretold
    assert f"{len(tiles)} of {len(tiles)} tiles written, 0 failed" in told
    assert sorted(path.stem for path in exports.glob("*.tif")) == sorted(tile.key for tile in tiles)

    done("tools/pack_landsat.py", exports, "--labels", "water", "--out", shards, "--tile-size", SIZE, "--block-km", 2)
    done("-m", "waterscape", "shards", "check", shards)
    facts = Manifest.load(shards).facts
    assert facts["tiles"]["crs"] == "EPSG:32637"
    assert (facts["tiles"]["metres_per_pixel"], facts["tiles"]["bands"]) == (30.0, list(BANDS))
    packed = samples(shards)
    assert {values["json"]["source"] for values in packed.values()} == {f"exports/{tile.key}" for tile in tiles}
    for values in packed.values():
        with rasterio.open(tmp_path / f"{values['json']['source']}.tif") as tile:
            bands, water = np.split(tile.read().transpose(1, 2, 0), [8], axis=-1)
        edge = [0, 1, -2, -1]  # lines are found in five pixels, and those of the tile beside are not known here
        bands[edge, :, 6] = bands[:, edge, 6] = np.nan
        np.testing.assert_allclose(values["bands.npy"], bands, rtol=0, atol=1e-6, equal_nan=True)
        known = values["water.npy"] != 255
        np.testing.assert_array_equal(values["water.npy"][known], water[..., 0][known] >= 0.5)
        assert known.any()

"""`waterscape predict RUN SCENE --out water.tif`: where a scene of any size shows water, as maps in its place."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import tyro
from numpy.typing import NDArray

from waterscape import models
from waterscape.errors import UserError
from waterscape.models import Trained
from waterscape.pages.quicklook import save_quicklook
from waterscape.pages.raster_targets import Targets, full_disk_told
from waterscape.pages.samples import marks
from waterscape.rasters.cog import Layer, write_cog
from waterscape.rasters.mask import Tally, strips, write_mask
from waterscape.rasters.outlines import write_outlines
from waterscape.rasters.segment import STEPS, Segment, segment_scene
from waterscape.rasters.unfinished import Unfinished, publish
from waterscape.rasters.windows import parts_of
from waterscape.sources.landsat.bands import MARGIN as LINE
from waterscape.sources.landsat.bands import UNKNOWN, WATER
from waterscape.sources.landsat.layers import stated_bands
from waterscape.sources.landsat.scene import Scene, open_scene
from waterscape.training.run import read_run

SCALES_AGREE = 0.05  # a share by which metres per pixel may differ from training's


HELP = """usage: waterscape predict RUN …   what is predicted depends on the run's model; RUN --help lists its options

  RUN of pixel_cnn                water in a raster of any size, as cloud-optimised GeoTIFFs and outlines
      waterscape predict RUN scene.tif --out water.tif [--outlines water.gpkg] [--threshold 0.5]
  RUN of satellite_encoder        what an observer would see at satellite tiles, and a film from one to the next
      waterscape predict RUN TILE … [--at LAT,LON --source mosaic.tif] [--animate] [--out DIR]"""


@dataclass(frozen=True)
class PredictRaster:
    """Where a scene of any size shows water, by a trained pixel_cnn: maps in its place, a picture, outlines.

    Both maps are cloud-optimised GeoTIFFs in the scene's CRS and pixels. A pixel is known where all that the network
    sees around it is: not within some pixels of the scene's edges and of nodata. Killed, the same command goes on.
    """

    run: Annotated[Path, tyro.conf.Positional]
    """The run's directory."""
    scene: Annotated[Path, tyro.conf.Positional]
    """A GeoTIFF with the bands B2 to B6 and elevation (metres), described so; or one of several files of a band each,
    scene_B2.tif."""
    out: Path
    """The mask to write (.tif): 1 water, 0 land, 255 nodata. A picture of it, .png, is written beside it."""
    probability: Path | None = None
    """The file for the probability of water (float32, NaN is nodata). Left out: beside --out, water-probability.tif."""
    outlines: Path | None = None
    """A GeoPackage (.gpkg) for the bodies' outlines with their areas in square metres."""
    threshold: float = 0.5
    """Water is where the probability is above it."""
    bands: str = ""
    """Which band is which where the file does not describe them: B2=2,B3=3,B4=4,B5=5,B6=6,elevation=9, from 1."""
    scale: float | None = None
    """Reflectance = number · scale + offset. Left out: as the file says, or that of Landsat Collection 2, Level 2."""
    offset: float | None = None
    """See --scale."""
    any_scale: bool = False
    """Also a scene whose pixels have another size than those that the run was trained on."""
    overwrite: bool = False
    """Replace files that are there."""
    threads: int = 0
    """That read, compute and store parts beside one another; 0: one for each core. The result is the same."""
    which: str = "newest"
    """The run's checkpoint: newest, best, or its name."""


def what_predicts(arguments: Sequence[str]) -> Literal["segment", "decode", "help"]:
    """What the run that is named predicts by; `help` where none is, and help is asked for. Raises `UserError`."""
    words = [Path(word) for word in arguments if not word.startswith("-")]
    run = next((word for word in words if (word / "run.json").is_file()), words[0] if words else None)
    if run is None:
        if {"-h", "--help"} & set(arguments):
            return "help"
        raise UserError("say by which run: waterscape predict RUN …; waterscape predict --help says more")
    facts = read_run(run)
    return "segment" if models.presets(facts["model"])[facts["preset"]].can("segment") else "decode"


def predict_raster(trained: Trained, options: PredictRaster) -> int:
    """Run the verb; returns the exit code. Raises `UserError`."""
    if options.threads < 0:
        raise UserError(f"--threads is {options.threads}: give 1 or more, or 0 for one of each core")
    if not 0 < options.threshold < 1:
        raise UserError(f"--threshold {options.threshold:g}: probabilities lie between 0 and 1")
    targets = Targets.of(options.out, options.probability, options.outlines, overwrite=options.overwrite)
    stated = stated_bands(options.bands.split(",")) if options.bands else None
    scene = open_scene(options.scene, stated, options.scale, options.offset)
    _check_scene(scene, trained.facts.get("tiles") or {}, options, targets)
    facts = {name: str(fact) for name, fact in marks(trained).items() if name != "synthetic"}
    if scene.tags.get("synthetic"):
        facts["synthetic"] = "true"
    if (trained.facts.get("set") or {}).get("synthetic"):
        facts["trained_on_synthetic"] = "true"
    targets.mask.parent.mkdir(parents=True, exist_ok=True)
    targets.check_space(scene.grid.height * scene.grid.width)
    threads = options.threads or os.cpu_count() or 1
    parts = parts_of(scene, trained.recipe.margin() + LINE)
    command = _command(scene, trained, parts[0][2:])
    with (
        full_disk_told(targets.mask.parent),
        Unfinished(targets.mask, command, scene.shape, parts, anew=options.overwrite) as work,
    ):
        work.begin(targets.all())
        if work.done and len(work.done) < len(parts):
            print(f"going on: {len(work.done)} of {len(parts)} parts are there")
        segment_scene(scene, segmenter(trained), trained.recipe.margin(), work, threads)
        tally = write_mask(work, options.threshold, work.directory / "mask.raw")
        if not tally.water + tally.land:
            work.remove()
            raise UserError(
                f"{options.scene}: every pixel has nodata or an edge so near that nothing is known; "
                f"{2 * trained.recipe.margin() + 5} pixels a side without nodata are the least"
            )
        bodies = _finish(scene, work, targets, options, facts, threads)
        work.remove()
    _tell(tally, bodies, targets)
    return 0


def segmenter(trained: Trained) -> Segment:
    """What computes the probability of water in bands (H W 8), by a run's networks; any number of threads may."""
    name = trained.recipe.pictured()
    entry = trained.recipe.inputs()[name]
    networks = {
        key: network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # as bands are stored
        for key, network in trained.networks.items()
    }

    def segment(bands: NDArray[np.float32]) -> NDArray[np.float32]:
        height, width, count = bands.shape
        with torch.inference_mode():
            shaped = dataclasses.replace(entry, shape=(count, height, width))
            numbers = shaped.numbers(torch.from_numpy(bands)[None], torch.float32)
            laid = numbers.contiguous(memory_format=torch.channels_last)  # a part's strides would slow each layer
            found: NDArray[np.float32] = trained.recipe.segment(networks, {name: laid})[0, 0].numpy()
        return found

    return segment


def _check_scene(scene: Scene, usual: Mapping[str, Any], options: PredictRaster, targets: Targets) -> None:
    """Raise `UserError` where a scene is not like the tiles that the run was trained on, or would be overwritten."""
    sources = {layer.path.resolve() for layer in scene.layers.values()}
    for path in targets.all():
        if path.resolve() in sources:
            raise UserError(f"{path} is the scene itself: give another --out")
    if scene.crs is None:
        if options.outlines:
            raise UserError(f"{scene.path} has no CRS, so no areas are known: leave --outlines out, or gdal_edit it")
        print(f"{scene.path} has no CRS: its scale cannot be checked, and {options.out} will have none")
        return
    if options.any_scale:
        return
    metres, trained = scene.metres_per_pixel, usual.get("metres_per_pixel")
    warped = f"gdalwarp -t_srs EPSG:326xx -tr {trained or 30:g} {trained or 30:g} makes such pixels; or say --any-scale"
    degrees = usual.get("degrees")
    if degrees is None and usual.get("crs"):  # tiles of an earlier version
        from rasterio.crs import CRS

        degrees = CRS.from_user_input(usual["crs"]).is_geographic
    if degrees is not None and scene.grid.degrees != degrees:
        here, there = ("degrees", "metres") if scene.grid.degrees else ("metres", "degrees")
        raise UserError(f"{scene.path} is in {here}, and the run was trained on {there}: {warped}")
    if metres and trained and abs(metres / trained - 1) > SCALES_AGREE:
        raise UserError(f"{scene.path} has {metres:.3g} m per pixel, and the run was trained on {trained:g}: {warped}")


def _command(scene: Scene, trained: Trained, part: tuple[int, ...]) -> dict[str, Any]:
    """All that the probabilities depend on."""
    files = {layer.path for layer in scene.layers.values()}
    return {
        "scene": {str(path.resolve()): [path.stat().st_size, path.stat().st_mtime_ns] for path in sorted(files)},
        "bands": {name: [layer.path.name, layer.band] for name, layer in sorted(scene.layers.items())},
        "scaling": [scene.scaling.scale, scene.scaling.offset],
        "checkpoint": trained.sha256,
        "size": [*scene.shape],
        "part": [*part],
    }


def _finish(
    scene: Scene, work: Unfinished, targets: Targets, options: PredictRaster, facts: Mapping[str, str], threads: int
) -> int | None:
    """Make all files, then give them their names; returns the number of bodies where they were asked for."""
    made = {path: targets.grows_at(path, work.directory) for path in targets.all()}
    said = {**facts, "scene": scene.path.name}
    print("writing cloud-optimised GeoTIFFs")
    mask = Layer(
        "uint8",
        UNKNOWN,
        "NEAREST",
        f"water: 1 where probability > {options.threshold:g}, 0 land, 255 nodata",
        {**said, "threshold": f"{options.threshold:g}"},
        {0: (244, 239, 225), WATER: (38, 104, 171), UNKNOWN: (150, 148, 146)},
    )
    steps = {**said, "rounded_to": f"1/{STEPS:.0f}"}
    values = Layer("float32", np.nan, "AVERAGE", "probability of water", steps)
    write_cog(work.directory / "mask.raw", made[targets.mask], scene.grid, mask, threads)
    write_cog(work.raw, made[targets.probability], scene.grid, values, threads)
    kind = "synthetic scene" if "synthetic" in facts else "scene"
    title = f"Water in the {kind} {scene.path.name}: probability > {options.threshold:g}"
    save_quicklook(scene, made[targets.mask], made[targets.picture], title, said)
    bodies = None
    if targets.outlines:
        made[targets.outlines].unlink(missing_ok=True)  # of a program that was killed
        masks = (rows > options.threshold for rows in strips(work))
        bodies = write_outlines(masks, made[targets.outlines], scene.grid)
    for final in targets.all():
        publish(made[final], final)
    return bodies


def _tell(tally: Tally, bodies: int | None, targets: Targets) -> None:
    known = tally.water + tally.land
    share = f"{tally.water / known:.1%} water of {known:,} pixels that are known"
    print(f"{share}, {tally.unknown / (known + tally.unknown):.1%} nodata")
    if bodies is not None:
        print(f"{targets.outlines}: {bodies:,} bodies")
    print(f"{targets.mask}, {targets.probability}, {targets.picture}")

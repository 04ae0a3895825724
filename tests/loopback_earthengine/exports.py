"""The tree of assets, and the operations that export into it: PENDING, RUNNING, SUCCEEDED, FAILED, CANCELLED.

An operation's state moves on when it is asked for, never by the clock: what a test sees is the same every time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from loopback_earthengine import exported_files
from loopback_earthengine.faults import ServiceError
from loopback_earthengine.images import Image, Raster, evaluate
from loopback_earthengine.operations import World
from loopback_earthengine.pixel_files import numbers
from loopback_earthengine.regions import window
from loopback_earthengine.values import Geometry

TIME = "2026-01-01T00:00:00Z"
FINAL = ("SUCCEEDED", "FAILED", "CANCELLED")
DESCRIPTION = re.compile(r"[A-Za-z0-9_-]{0,100}")
"""As the reference of Export has it: letters, numbers, -, _ (no spaces)."""


@dataclass
class Operation:
    """An export, from the request to its end."""

    name: str
    description: str
    asset: str
    overwrite: bool
    image: Callable[[], Image]
    most_pixels: int
    files: Mapping[str, Any] | None = None
    """The options of an export to files."""
    state: str = "PENDING"
    polls: int = 0
    error: str = ""
    fails: str = ""

    def described(self) -> dict[str, Any]:
        """The JSON of the operation."""
        metadata = {
            "@type": "type.googleapis.com/google.earthengine.v1.OperationMetadata",
            "state": self.state,
            "description": self.description,
            "type": "EXPORT_IMAGE",
            "createTime": TIME,
            "updateTime": TIME,
            "attempt": 1,
            "progress": 1.0 if self.state == "SUCCEEDED" else 0.0,
            "destinationUris": [
                self.asset if self.files else f"https://code.earthengine.google.com/?asset={self.asset}"
            ],
        }
        if self.state == "SUCCEEDED":
            metadata["batchEecuUsageSeconds"] = 12.5
        done = {"done": True} if self.state in FINAL else {}
        error = {"error": {"code": 3, "message": self.error}} if self.error else {}
        return {"name": self.name, "metadata": metadata, **done, **error}


@dataclass
class Exports:
    """What a project holds and does. `running` operations go on at a time, each through `polls` askings."""

    world: World
    assets: dict[str, Raster]
    containers: dict[str, str] = field(default_factory=dict)
    operations: dict[str, Operation] = field(default_factory=dict)
    requests: dict[str, str] = field(default_factory=dict)
    running: int = 2
    polls: int = 1
    most_queued: int = 3000
    drive: Path | None = None
    """Where files go: DRIVE/FOLDER/… of exports to Drive, DRIVE/gs/BUCKET/… of those to Cloud Storage."""

    def start(self, project: str, request: Mapping[str, Any], image: Callable[[], Image]) -> Operation:
        """Take an export request in; raises `ServiceError` where the service would refuse it at once."""
        files = request.get("fileExportOptions")
        destination = {} if files else request["assetExportOptions"]["earthEngineDestination"]
        asset = exported_files.beginning(files) if files else destination["name"]
        overwrite = bool(destination.get("overwrite"))
        key = request.get("requestId", "")
        if not DESCRIPTION.fullmatch(request.get("description", "")):
            message = "Invalid description: letters, numbers, '-' and '_' alone (no spaces), at most 100 characters."
            raise ServiceError(400, message)
        if key in self.requests:
            if self.world.assumptions.repeated_request == "refused":
                raise ServiceError(400, f"A task with the request id '{key}' was started before.")
            return self.operations[self.requests[key]]
        if asset in self.assets and not overwrite:
            raise ServiceError(400, f"Cannot overwrite asset '{asset}'.")
        if not files and not self.exists(asset.rsplit("/", 1)[0]):
            message = f"Asset '{asset.rsplit('/', 1)[0]}' does not exist or doesn't allow this operation."
            raise ServiceError(404, message)
        if sum(each.state not in FINAL for each in self.operations.values()) >= self.most_queued:
            raise ServiceError(429, f"Too many tasks already in the queue ({self.most_queued}).")
        image()  # an expression that cannot be computed is refused at once
        name = f"projects/{project}/operations/{len(self.operations) + 1:024X}"
        most = int(request.get("maxPixels", {}).get("value", 10**8))
        made = Operation(name, request.get("description", ""), asset, overwrite, image, most, files)
        self.operations[name] = made
        if key:
            self.requests[key] = name
        return made

    def find(self, name: str) -> Operation:
        """An operation by name."""
        if name not in self.operations:
            raise ServiceError(404, f"Operation '{name}' not found.")
        return self.operations[name]

    def tick(self) -> None:
        """Somebody asked how it goes: what runs goes on, and what waits starts where there is room."""
        for operation in self.operations.values():
            if operation.state == "CANCELLING":
                operation.state = "CANCELLED"
            elif operation.state == "RUNNING":
                operation.polls += 1
                if operation.polls >= self.polls:
                    self._finish(operation)
        room = self.running - sum(each.state == "RUNNING" for each in self.operations.values())
        for operation in [each for each in self.operations.values() if each.state == "PENDING"][: max(room, 0)]:
            operation.state = "RUNNING"

    def cancel(self, name: str) -> None:
        """Ask an operation to end."""
        operation = self.find(name)
        if operation.state not in FINAL:
            operation.state = "CANCELLING"

    def _finish(self, operation: Operation) -> None:
        try:
            if operation.fails:
                raise ServiceError(400, operation.fails)
            if operation.asset in self.assets and not operation.overwrite:
                raise ServiceError(400, f"Cannot overwrite asset '{operation.asset}'.")
            made = self._export(operation)
            if operation.files:
                exported_files.write(self.drive, operation.asset, made, operation.files)
            else:
                self.assets[operation.asset] = made
            operation.state = "SUCCEEDED"
        except ServiceError as error:
            operation.state, operation.error = "FAILED", error.message

    def _export(self, operation: Operation) -> Raster:
        image = operation.image()
        if image.footprint is None:
            raise ServiceError(400, "Unable to export unbounded image.")
        grid = window(image.bands[0].projection, image.region or Geometry(image.footprint))
        if grid.width * grid.height > operation.most_pixels:
            pixels = grid.width * grid.height
            message = f"Export too large: specified {pixels} pixels (max: {operation.most_pixels}). "
            raise ServiceError(400, message + "Specify higher maxPixels value if you intend to export a large area.")
        pixels = evaluate([band.node for band in image.bands], grid)
        planes = numbers(image.bands, pixels, self.world.assumptions)
        known = np.minimum.reduce([each.mask for each in pixels]) > 0
        a, b, _, d, e, _ = grid.projection.transform
        x, y = grid.projection.places(np.array(grid.left), np.array(grid.top))
        bands = {band.name: plane for band, plane in zip(image.bands, planes, strict=True)}
        return Raster(bands, grid.projection.crs, (a, b, float(x), d, e, float(y)), known, image.properties)

    def exists(self, name: str) -> bool:
        """Whether there is an asset, folder or collection of that name."""
        root = name.startswith("projects/") and name.rstrip("/").endswith("/assets")
        inside = any(each.startswith(name + "/") for each in [*self.assets, *self.containers])
        return root or inside or name in self.assets or name in self.containers

    def described(self, name: str) -> dict[str, Any]:
        """The JSON of an asset."""
        if not self.exists(name):
            raise ServiceError(404, f"Asset '{name}' does not exist or caller does not have access.")
        if name not in self.assets:
            return {"type": self.containers.get(name, "FOLDER"), "name": name, "id": name}
        raster = self.assets[name]
        height, width = raster.shape
        grid = {"crsCode": raster.crs, "dimensions": {"width": width, "height": height}}
        bands = [{"id": band, "grid": grid} for band in raster.bands]
        return {"type": "IMAGE", "name": name, "id": name, "bands": bands, "properties": dict(raster.properties)}

    def listed(self, parent: str) -> list[dict[str, Any]]:
        """The JSON of what lies directly within a folder or collection."""
        self.described(parent)
        inside = [name for name in [*self.assets, *self.containers] if name.rsplit("/", 1)[0] == parent]
        return [self.described(name) for name in sorted(set(inside))]

    def create(self, name: str, kind: str) -> dict[str, Any]:
        """Make a folder or a collection."""
        if name in self.assets or name in self.containers:
            raise ServiceError(409, f"Cannot overwrite asset '{name}'.")
        if not self.exists(name.rsplit("/", 1)[0]):
            raise ServiceError(404, f"Asset '{name.rsplit('/', 1)[0]}' does not exist.")
        self.containers[name] = kind
        return self.described(name)

    def delete(self, name: str) -> None:
        """Forget an asset."""
        self.described(name)
        self.assets.pop(name, None)
        self.containers.pop(name, None)

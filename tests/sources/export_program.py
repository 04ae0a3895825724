"""The tools that export from Earth Engine, within this process, against a loopback one, with short pauses."""

from __future__ import annotations

import dataclasses

import ee
import pytest
from programs import run_tool

from waterscape.sources import earthengine


def run_export(tool, url, *words):
    """Exit code, stdout, stderr."""
    pauses = dataclasses.replace(earthengine.LIMITS, first_pause=0.01, longest_pause=0.1)
    ee.Reset()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EARTHENGINE_URL", url)
        patch.delenv("GOOGLE_CLOUD_PROJECT", raising=False)
        patch.setattr(earthengine, "LIMITS", pauses)
        return run_tool(tool, *words)

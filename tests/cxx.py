"""A C++ compiler, which torch.compile needs: without one a test is skipped, or fails where its inputs are required."""

import os
import shutil

import pytest


def need_cxx():
    """Skip, or fail where WATERSCAPE_REQUIRE_DATA is set, on a machine that has none."""
    if shutil.which(os.environ.get("CXX", "g++")) is None:
        (pytest.fail if os.environ.get("WATERSCAPE_REQUIRE_DATA") else pytest.skip)("needs a C++ compiler: g++")

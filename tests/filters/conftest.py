"""The packages that only the filters of people need, where they are installed."""

import importlib.util
import os

import pytest

from waterscape.errors import UserError
from waterscape.filters.faces import Faces
from waterscape.filters.persons import UprightPersons


@pytest.fixture(scope="session")
def detectors():
    """Both detectors that packages bring; without them tests are skipped, or fail in CI."""
    found = Faces(), UprightPersons()
    try:
        for one in found:
            one.check()
        assert importlib.util.find_spec("cv2")
    except UserError as error:
        if os.environ.get("WATERSCAPE_REQUIRE_DATA"):
            pytest.fail(str(error))
        pytest.skip(str(error))
    return found

"""Curves of a run: each figure has its panel, true pictures' figures are a line in it, not a panel."""

from PIL import Image

from waterscape.pages.curves import draw_curves, series
from waterscape.training.events import Events, read_events


def test_what_is_drawn(tmp_path):
    events = Events(tmp_path, 0)
    for images in (0, 100, 200):
        events.write("report", images, losses={"loss": 10.0 / (images + 1)}, images_per_second=1.0)
        events.write("picture", images, measured={"error": 1.0})
        figures = {"kernel distance": 5.0 - images / 100, "kernel distance, standard error": 0.1, "SSIM": 0.5}
        limits = {"floor: kernel distance": 0.2, "ceiling: kernel distance": 99.0}
        events.write("evaluation", images, figures=figures | limits, seconds=1.0)
    events.close()
    panels = series(read_events(tmp_path))
    floors = {name for name in panels if name.startswith("floor")}
    assert floors == {"floor: evaluation: kernel distance"}
    assert set(panels) - floors == {"loss", "held out: error", "evaluation: kernel distance", "evaluation: SSIM"}
    assert panels["evaluation: kernel distance"] == [(0, 5.0), (100, 4.0), (200, 3.0)]
    with Image.open(draw_curves(tmp_path, "SYNTHETIC events")) as picture:
        assert picture.width > 3 * picture.height / 2, "four panels on two rows of three"

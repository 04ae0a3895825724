"""`waterscape report`: what stands on the page is what the runs' files say, whatever state they are in."""

from __future__ import annotations

import html
import json
import re
import shutil
import signal
import time
from html.parser import HTMLParser

import numpy as np
import pytest
from coloured_scenes import train_classifier, write_scenes
from PIL import Image
from programs import finish, run, start, write_tiles

from waterscape.__main__ import dispatch
from waterscape.data.manifest import Manifest, Shard
from waterscape.errors import UserError
from waterscape.metrics.card import Card, Figure
from waterscape.pages.curves import series
from waterscape.pages.report.album import Album
from waterscape.pages.report.data_set import part_of
from waterscape.pages.report.subject import read_subjects
from waterscape.training.events import Events, read_events

VOID = ("meta", "img", "br", "input")


class Page(HTMLParser):
    """A report, read: that its elements nest, what it would load, its lines, its text by section."""

    def __init__(self, path):
        super().__init__()
        self.open, self.loads, self.lines, self.text, self.section = [], [], [], {}, ""
        self.size = path.stat().st_size
        self.feed(path.read_text())
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.loads += [found[name] for name in ("src", "srcset", "data", "poster") if found.get(name)]
        self.loads += [found["href"] for _ in [0] if tag in ("image", "link", "use") and found.get("href")]
        if "data-values" in found:
            points = [tuple(map(float, pair.split(","))) for pair in found["data-values"].split()]
            self.lines.append((found["data-name"], points))
        if tag == "section":
            self.section = found["id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.text[self.section] = self.text.get(self.section, "") + data


def report(out, *words):
    run("report", *words, "--out", out)
    return Page(out)


def copied(source, out):
    """A run as another one: its files are its own, its checkpoints the same."""
    shutil.copytree(source, out)
    return out


def with_facts(run, **changed):
    facts = json.loads((run / "run.json").read_text())
    facts["run"] |= changed
    (run / "run.json").write_text(json.dumps(facts))
    return run


def write_card(run, images, split="valid", **conditions):
    """A metric card as an evaluation writes it, with figures of every sort: with limits, an interval, or neither."""
    figures = (
        Figure("kernel distance", 1.25, 0.75, 1.75, floor=0.25, ceiling=99.0, better="lower"),
        Figure("made again: SSIM", 0.625, 0.5, 0.75, better="higher"),
        Figure("effective rank", 18.875),
    )
    told = {"name": run.name, "model": "water_vae", "preset": "reference", "images": images, "sha256": "5ea1"}
    data = {"name": "tiles", "split": split, "samples": 20, "manifest_sha256": "0", "synthetic": True}
    (run / "cards").mkdir(exist_ok=True)
    card = Card(told, data, {"features": "random", "seed": 0, **conditions}, figures)
    card.save(run / "cards" / f"{split}-{images}.json")


@pytest.fixture(scope="module")
def two(runs, tmp_path_factory):
    """A report of a VAE with cards and a GAN that starts from it."""
    directory = tmp_path_factory.mktemp("report")
    vae, gan = copied(runs / "vae", directory / "vae"), copied(runs / "gan", directory / "gan")
    for place, images, words in ((vae, 32, {}), (gan, 64, {}), (vae, 64, {"seed": 1})):
        write_card(place, images, **words)
    Image.new("RGB", (60, 40), "blue").save(vae / "cards" / "valid-32-nearest.png")
    return report(directory / "report.html", vae, gan), vae, gan, directory / "report.html"


def test_it_is_one_file_that_loads_nothing(two):
    page, _, _, path = two
    assert page.size < 5e6
    assert page.loads, "there are pictures"
    assert all(place.startswith("data:image/webp;base64,") for place in page.loads)
    text = path.read_text()
    assert "default-src 'none'" in html.unescape(text)
    assert not re.search(r"""(?:@import|url\(|fetch\(|import\s*\()""", text)


def test_curves_are_the_events(two):
    page, vae, gan, _ = two
    for directory, name in ((vae, "vae"), (gan, "gan")):
        drawn = [points for called, points in page.lines if called == name]
        for label, points in series(read_events(directory)).items():
            if label.startswith("floor: "):
                continue
            told = [(float(f"{images:.6g}"), float(f"{value:.4g}")) for images, value in sorted(points)]
            assert told in drawn, label


def test_every_section_tells_what_it_is_for(two):
    page, _, _, _ = two
    text = page.text
    assert "64 of 64 images" in text["overview"]
    assert "synthetic samples" in text["overview"]
    assert "SYNTHETIC" in text["samples"]
    figures = "kernel distance", "1.25", "0.75 … 1.75", "0.625", "18.88", "0.25", "99"
    for told in (*figures, "vae 32 images", "gan 64 images"):
        assert told in text["cards"], told
    assert text["cards"].count("Not to be compared with the first table: seed: 0 and 1.") == 1
    assert "learnt from the same set" in text["data"]
    assert "180" in text["data"]
    assert "20" in text["data"]
    assert "waterscape train water_vae:reference" in text["command"]
    assert "--start vae=" in text["command"]
    assert "images a second" in text["throughput"]
    assert "nearest to" in page.text["copies"]


def test_a_run_without_its_data_its_weights_or_anything_yet(runs, tmp_path):
    gone = with_facts(copied(runs / "vae", tmp_path / "gone"), data=str(tmp_path / "no set"))
    weightless = copied(runs / "gan", tmp_path / "weightless")
    shutil.rmtree(weightless / "checkpoints")
    (weightless / "cards").mkdir()
    (weightless / "cards" / "torn.json").write_text('{"format": 1')
    (weightless / "outcome").write_text("failed\nthe disk is full\n")
    damaged = weightless / "pictures" / "000000000064.npz"
    damaged.write_bytes(damaged.read_bytes()[:200])
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    shutil.copy(runs / "gan" / "run.json", fresh)
    (fresh / "events.jsonl").write_text('{"event": "start", "images": 0, "time": 1.0}\n{"event": "rep')
    page = report(tmp_path / "out" / "report.html", gone, weightless, fresh)
    assert "is not at hand" in page.text["data"]
    assert "no manifest.json" in page.text["data"]
    assert "holds no whole checkpoint" in page.text["samples"]
    assert "torn.json is no metric card" in page.text["events"]
    assert "failed: the disk is full" in page.text["overview"].lower()
    assert "end not known" in page.text["overview"]
    assert "It has no pictures yet" in page.text["time"]
    assert page.text["samples"].count("SYNTHETIC") == 1, "of the one that still has weights"


def test_another_set_is_said_to_be_another(runs, tmp_path):
    other = write_tiles(tmp_path / "other", samples=30, seed=5, synthetic=False, dropped={"all water": 7, "gone": 0})
    page = report(tmp_path / "report.html", runs / "gan", "--data", other, "--samples", 0)
    assert "NOT the set that this run was trained on" in page.text["data"]
    assert "dropped when packing: 7 of 37" in page.text["data"]
    assert "all water" in page.text["data"]


def test_names_and_texts_stay_text(runs, tmp_path):
    evil = copied(runs / "gan", tmp_path / "<script>alert(1)<")
    events = Events(evil, 64)
    events.write("collapse", 64, reason="<img src=http://evil.example/x.png>", told='" onload="x')
    events.close()
    (evil / "model-card.md").write_text(
        "# A card\n\n- one\n\n<script src=http://evil.example></script> ![x](http://evil.example/y.png) "
        "[bad](javascript:alert(1)) [good](https://good.example/)\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"
    )
    page = report(tmp_path / "report.html", evil, "--samples", 0)
    assert all(place.startswith("data:") for place in page.loads)
    assert "<script>alert(1)<" in page.text["overview"]
    assert "<img src=http://evil.example/x.png>" in page.text["events"]
    raw = (tmp_path / "report.html").read_text()
    assert raw.count("<script") == 1
    assert "javascript:" not in raw.replace("(javascript:", "")
    assert 'href="https://good.example/"' in raw
    assert "<h1>A card</h1>" in raw
    assert "<td>2</td>" in raw


def test_what_cannot_be_reported_is_refused(runs, tmp_path):
    torn = copied(runs / "gan", tmp_path / "torn")
    (torn / "run.json").write_text("{")
    other = tmp_path / "other"
    other.mkdir()
    (other / "run.json").write_text("{}")
    for words, message in {
        (): "say which runs",
        (tmp_path / "none",): "is not a run",
        (torn,): "run.json is damaged",
        (other,): "was not written by",
        (runs / "gan", "--samples", -1): "0 .none. or more",
        (runs / "gan", "--out", tmp_path): "is a directory",
        tuple([runs / "gan"] * 9): "8 at most",
        (runs / "gan", "--out", runs / "gan" / "run.json" / "x.html", "--samples", 0): "cannot be written",
    }.items():
        with pytest.raises(UserError, match=message):
            dispatch(["report", *map(str, words)])


def test_one_run_named_twice_is_one_and_equal_names_are_told_apart(runs, tmp_path):
    one, other = tmp_path / "a" / "gan", tmp_path / "b" / "gan"
    for place in (one, other):
        place.mkdir(parents=True)
        shutil.copy(runs / "gan" / "run.json", place)
    assert [subject.name for subject in read_subjects([one, other, one])] == ["a/gan", "b/gan"]


def test_pictures_are_kept_below_the_limit_and_equal_ones_once():
    random = np.random.default_rng(0)
    rows = [random.integers(0, 256, (8, 64, 64, 3), dtype=np.uint8) for _ in range(6)]
    for limit, least in ((2_000_000, 500_000), (150_000, 30_000), (20_000, 4_000)):
        album = Album(limit)
        page = "".join(album.row(row, "noise") for row in [*rows, rows[0]])
        filled = album.fill(page)
        assert least < len(filled) <= limit
        assert filled.count("data:image/webp") == 7
        assert len(set(re.findall('src="([^"]*)"', filled))) == 6
    album = Album(1500)
    with pytest.raises(UserError, match="fewer at once"):
        album.fill("".join(album.row(row, "noise") for row in rows))


def test_of_a_large_set_shards_of_each_split_are_looked_at():
    shards = [
        Shard(f"{split}-{number:05d}", split, 1000, 1, "", "")
        for split, count in (("train", 9000), ("valid", 900), ("test", 3))
        for number in range(count)
    ]
    whole = Manifest("large", (), tuple(shards), {})
    part = part_of(whole, 20_000)
    assert 10_000 <= sum(shard.samples for shard in part.shards) <= 40_000
    assert set(part.splits) == set(whole.splits)
    first, *_, last = part.split("train")
    assert (first.name, last.name) == ("train-00000", "train-08999")
    assert part_of(part, 10**6) is part


@pytest.mark.long
def test_a_run_that_was_killed_and_resumed(tiles, tmp_path):
    out = tmp_path / "run"
    words = ["train", "water_vae:reference", "--data", tiles, "--out", out, "--batch", 16, "--held-out", 8]
    words += ["--report-every", 16, "--checkpoint-every", 64, "--picture-every", 64, "--no-tensorboard"]
    words += ["--evaluate-every", 0]
    process = start(1, *words, "--images", 10**6)
    while not any((out / "checkpoints").glob("[0-9]*/state.json")):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    killed = report(tmp_path / "killed.html", out)
    assert "was killed: the same command goes on" in killed.text["overview"].replace("Was", "was")
    far = int(max(path.name for path in (out / "checkpoints").glob("[0-9]*")))
    finish(start(1, *words, "--images", far + 128))
    page = report(tmp_path / "done.html", out)
    assert "done" in page.text["overview"]
    assert "2 starts" in page.text["overview"]
    assert f"{far:,}" in page.text["history"], "where it was resumed"
    lines = [points for name, points in page.lines if name == "run"]
    for points in lines:
        places = [x for x, _ in points]
        assert len(set(places)) == len(places), "a curve is doubled"


@pytest.mark.long
def test_a_classifier_is_judged_as_classify_judges_it(tmp_path):
    scenes = write_scenes(tmp_path / "set")
    out = train_classifier(scenes, tmp_path / "classifier")
    run("classify", out, "--data", scenes)
    told = json.loads((out / "classified" / "test.json").read_text())
    page = report(tmp_path / "report.html", out)
    assert f"{told['accuracy']:.1%} of {told['samples']} samples" in page.text["classes"]
    raw = (tmp_path / "report.html").read_text()
    matrix = re.search('<table class="matrix">.*?</table>', raw)[0]
    rows = [re.findall("<td[^>]*>([^<]*)</td>", row) for row in re.findall("<tr>.*?</tr>", matrix)][1:-1]
    found = [[int(cell or 0) for cell in row[:-1]] for row in rows]
    assert found == told["confusion (rows are true)"]
    assert raw.count('class="point ') == told["samples"]
    assert "synthetic" in page.text["data"], "its region"

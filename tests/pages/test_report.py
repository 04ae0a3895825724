"""`waterscape report`: what stands on the page is what the runs' files say, whatever state they are in."""

from __future__ import annotations

import datetime
import html
import io
import json
import os
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
from waterscape.data.pack import SetWriter
from waterscape.errors import UserError
from waterscape.metrics.card import Card, Figure
from waterscape.pages.curves import series
from waterscape.pages.report.album import Album
from waterscape.pages.report.cards import card_tables
from waterscape.pages.report.curves import curve_panels
from waterscape.pages.report.data_set import part_of, read_set
from waterscape.pages.report.overview import model_card
from waterscape.pages.report.page import whole_page
from waterscape.pages.report.place_map import place_map
from waterscape.pages.report.scale import Scale, apart, short
from waterscape.pages.report.subject import State, Subject, read_subjects
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
    assert all(place.startswith(("data:image/webp;base64,", "#shape")) for place in page.loads)
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


def test_runs_of_different_sets_are_not_said_to_have_learnt_from_the_same(tiles, tmp_path):
    facts = {"model": "water_vae", "preset": "reference", "recipe": {}}
    for hashes, same in ((("a", "a"), True), (("a", "b"), False)):
        subjects = [subject(tmp_path, number, number=number) for number in (0, 1)]
        for one, sha256 in zip(subjects, hashes, strict=True):
            one.facts = {**facts, "run": FACTS["run"], "manifest_sha256": sha256}
            one.data = read_set(str(tiles), sha256)
        page = whole_page(subjects, Album(10**7), datetime.datetime.now(datetime.UTC))
        assert ("learnt from the same set" in page) == same


def test_classes_and_runs_are_told_apart_in_every_panel(tmp_path):
    """Run 0 never saw a wetland, so its second class is the river, as the third is everywhere."""
    parts = [("lake", "river"), ("lake", "wetland", "river"), ("wetland", "lake")]
    subjects = [
        subject(
            tmp_path,
            number,
            {"event": "picture", "images": 10, "time": 1.0, "measured": measured(parts[number], 1)},
            {"event": "rollback", "images": 15, "time": 1.5, "to": 10 if number == 1 else None, "reason": "r"},
            {"event": "picture", "images": 20, "time": 2.0, "measured": measured(parts[number], 2)},
        )
        for number in range(3)
    ]
    drawn = str(curve_panels(subjects))
    looks = re.findall('class="line ([^"]*)" data-name="([^,]*), run([0-9])"', drawn)
    assert len(looks) == 2 * sum(map(len, parts))
    colours = {(name, look.split()[0]) for look, name, _ in looks}
    dashes = {(number, look.partition(" ")[2]) for look, _, number in looks}
    assert len(colours) == len({name for name, _ in colours}) == len({look for _, look in colours}) == 3
    assert len(dashes) == len({number for number, _ in dashes}) == len({look for _, look in dashes}) == 3
    assert drawn.count('class="mark c1"') == drawn.count("<figure") == 2, "where run 1 went back; the others did not"


def measured(parts, value):
    return {f"{figure}: {part}": value for figure in ("recall", "precision") for part in parts}


FACTS = {"run": {"images": 64, "data": "shards", "batch": 1, "seed": 0, "precision": "no", "out": "runs/x"}}


def subject(directory, name, *events, number=None):
    """A run as it was read, of which nothing but events is known."""
    number = name if number is None else number
    facts = {"model": "water_vae", "preset": "reference", "recipe": {}, **FACTS}
    return Subject(directory / f"run{name}", number, f"run{name}", facts, events, State("done", "done"), {}, [])


@pytest.mark.parametrize(
    ("low", "high"), [(37.51, 37.59), (0.9985, 1.0002), (0, 1), (9998, 10003), (123_000, 123_090), (-1e-4, 1e-4)]
)
def test_no_two_ticks_have_the_same_label(low, high):
    ticks = Scale.of([low, high], 0, 100).ticks(5)
    labels = [short(value, apart(ticks)) for value in ticks]
    assert len(set(labels)) == len(labels) > 2
    units = {"k": 1e3, "M": 1e6}
    told = [float(label.rstrip("kM").replace(",", "")) * units.get(label[-1], 1) for label in labels]
    assert told == pytest.approx(ticks, rel=1e-9, abs=1e-12)


def test_the_best_figure_is_bold_where_it_is_beyond_chance(tmp_path):
    for one, other, bold in (((1, 1, 1), (3, 3, 3), 1), ((1, 0, 2), (2, 1, 3), 0), ((1, None, None), (3, 3, 3), 0)):
        subjects = [subject(tmp_path, number) for number in (0, 1)]
        for own, figure in zip(subjects, (one, other), strict=True):
            own.cards = {"valid": Card({"images": 1}, DATA, {}, (Figure("distance", *figure, better="lower"),))}
        assert str(card_tables(subjects)).count("<b>") == bold


DATA = {"name": "tiles", "split": "valid", "samples": 20}


def test_a_model_card_shows_code_as_it_is_and_no_html(tmp_path):
    (tmp_path / "run0").mkdir()
    own = subject(tmp_path, 0)
    (own.run / "model-card.md").write_text(
        "`a < b && c` and x < y & z\n\n    if a < b && c:\n\n<script>alert(1)</script>\n\n"
        "text <img src=x onerror=alert(1)> <b>bold</b> ![p](http://evil.example/p.png) ![q][r] <javascript:alert(1)> [good](https://good.example/)\n\n"
        "[bad](javascript:alert(1)) [worse](JavaScript:alert(1)) [r]\n\n[r]: javascript:alert(1)\n"
    )
    made = str(model_card(own))
    assert "<code>a &lt; b &amp;&amp; c</code> and x &lt; y &amp; z" in made
    assert "if a &lt; b &amp;&amp; c:" in made
    for element in ("<script", "<img", "<b>"):
        assert element not in made
        assert html.escape(element) in made
    assert re.findall("href=[^>]*", made) == ['href="https://good.example/"']


def test_odd_files_and_names_refuse_no_report(runs, tmp_path):
    """A copied picture beside the pictures, a directory whose name is no text, a card that looks like a picture's."""
    odd = copied(runs / "gan", tmp_path / os.fsdecode(b"r\xff"))
    last = max((odd / "pictures").glob("*.npz"))
    shutil.copy(last, odd / "pictures" / f"{last.stem} (1).npz")
    (odd / "model-card.md").write_text('see src="picture:0", src="picture:99"\n')
    page = report(tmp_path / "report.html", odd, "--samples", 0)
    assert "r?" in page.text["overview"]
    assert 'src="picture:0", src="picture:99"' in page.text["model-card"]


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("column", ["jpg", "occurrence64.npy"])
def test_places_of_photos_are_rounded_unless_asked_for(tmp_path, column, exact):
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG")
    value = file.getvalue() if column == "jpg" else np.zeros((8, 8), np.uint8)
    with SetWriter(tmp_path / "set", facts={}) as writer:
        for number in range(4):
            place = {"longitude": 37.6173 + number / 1e3, "latitude": 55.7558}
            writer.add("train", {column: value, "json": place})
        writer.finish()
    data = read_set(str(tmp_path / "set"), "", exact=exact)
    rounded = column == "jpg" and not exact
    assert set(data.survey.latitude) == ({55.8} if rounded else {55.7558})
    assert len(set(data.survey.longitude)) == (1 if rounded else 4)
    assert ("rounded to 0.1°" in place_map(data)) == rounded


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
    assert all(place.startswith(("data:", "#shape")) for place in page.loads)
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

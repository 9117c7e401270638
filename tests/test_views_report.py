"""Curves, comparisons and the report, from runs that were trained here in a second."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recipes import Finished
from scipy import stats

from amkd_viz.core.errors import InputError
from amkd_viz.data import load
from amkd_viz.models import build
from amkd_viz.runs import Run, distill
from amkd_viz.runs import compare as train_all
from amkd_viz.runs.groups import groups
from amkd_viz.runs.table import pairs, table
from amkd_viz.training import Recipe
from amkd_viz.views import View, compare, curves, write_report
from amkd_viz.views.layout import keep, squares
from amkd_viz.views.report import _lead, _pairs, _table, attack_words, boundary_samples


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where runs and trained teachers are kept during these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AMKD_VIZ_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def runs(folder: Path) -> list[Run]:
    small = {"teacher": "mlp-small", "student": "mlp-tiny", "epochs": 2, "teacher_epochs": 2}
    recipe = Recipe(dataset="spirals", max_boundary_samples=8, **small)
    return train_all(recipe, ["ce", "amkd"], 2, folder / "spirals")


def fake(method: str, seed: int, accuracy: float | None, lines: Sequence[dict[str, Any]] = (), **fields: Any) -> Any:
    recipe = Recipe(method=method, seed=seed, dataset="moons", **fields)
    return Finished(recipe, lines, test_accuracy=accuracy, teacher_test_accuracy=0.9)


def epoch(number: int, **terms: float | None) -> dict[str, Any]:
    return {"kind": "epoch", "epoch": number, "terms": terms, "metrics": {}, "val_accuracy": 0.5}


def test_every_term_has_its_own_axes() -> None:
    a = fake("kd", 0, 0.5, [epoch(e, ce=1 / e, kd=2.0) for e in range(1, 5)])
    b = fake("kd", 1, 0.5, [epoch(e, ce=3 / e, kd=None) for e in range(1, 5)])
    view = curves([a, b])
    assert np.allclose(view.arrays["kd.ce"][:, 1], [2 / e for e in range(1, 5)])
    assert np.allclose(view.arrays["kd.kd"][:, 1], 2.0)  # what is not finite is left out
    assert {"xaxis", "xaxis2", "xaxis3"} <= set(view.figure.layout.to_plotly_json())
    assert "xaxis4" not in view.figure.layout.to_plotly_json()


def test_a_long_run_is_thinned_and_a_short_one_is_a_point() -> None:
    view = curves(fake("kd", 0, 0.5, [epoch(e, ce=1.0) for e in range(1, 5001)]))
    assert all(len(trace.x) <= 500 for trace in view.figure.data)
    assert view.arrays["kd.ce"][[0, -1], 0].tolist() == [1, 5000]
    assert curves(fake("kd", 0, 0.5, [epoch(1, ce=1.0)])).figure.data[0].mode == "markers"
    with pytest.raises(InputError, match="no curve"):
        curves(fake("kd", 0, 0.5))


def test_a_spike_of_one_epoch_is_named_and_does_not_flatten_the_rest(runs: list[Run]) -> None:
    run = runs[0]
    lines = [{"epoch": e, "terms": {"ce": 2 / e}, "val_accuracy": 0.5} for e in range(1, 21)]
    calm = curves_of(run, lines)
    assert calm.figure.layout.yaxis.range is None
    assert "Beyond" not in calm.caption  # a high start is no spike
    lines[11]["terms"] = {"ce": 9.0}
    spiked = curves_of(run, lines)
    assert spiked.figure.layout.yaxis.range[1] < 2.5
    words = f"single epochs: cross-entropy with labels, 9 at epoch 12 (ce, seed {run.recipe.seed})."
    assert f"Beyond its axes for {words}" in spiked.caption


def curves_of(run: Run, lines: list[dict[str, Any]]) -> View:
    """Draw the curves of a run as if its log had these lines."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(run), "metrics", lambda _: lines)
        return curves(run)


def test_headings_of_four_in_a_row_fit_into_850_pixels_below_a_change() -> None:
    lines = [epoch(e, ce=1.0, boundary_triplet=1.0) | {"metrics": {"val_agreement": 0.5}} for e in (1, 2)]
    change = {"kind": "intervention", "epoch": 1, "batch": 3, "changes": {"margin<b>": 0.5}}
    run = fake("kd", 0, 0.5, [*lines, change])
    figure = curves(run).figure
    headings = [note.text for note in figure.layout.annotations if note.text.startswith("<b>")]
    assert "<b>agreement with the<br>teacher</b><br>" in "".join(headings)
    for heading in headings:
        assert max(map(len, re.sub("<(?!br).*?>", "", heading).split("<br>"))) <= 22
    most = max(heading.count("<br>") for heading in headings)
    assert figure.layout.margin.t > 72 + 14 * (most - 1)
    change = next(note for note in figure.layout.annotations if "(you)" in note.text)
    assert change.text == "margin&lt;b&gt; → 0.5 (you)"
    assert change.yshift > 50 + 14 * (most - 1)


def test_compare_counts_as_numpy_does() -> None:
    shares = {"kd": [0.5, 0.6, 0.7], "amkd": [0.55]}
    view = compare([fake(m, s, a) for m, values in shares.items() for s, a in enumerate(values)])
    assert view.notes["kd.mean"] == pytest.approx(0.6)
    assert view.notes["kd.sd"] == pytest.approx(np.std(shares["kd"], ddof=1))
    assert view.notes["amkd.sd"] is None
    assert view.notes["teacher"] == 0.9
    with pytest.raises(InputError, match="None of the runs has test_accuracy"):
        compare([fake("kd", 0, None)])


def test_the_report_says_what_the_numbers_say(runs: list[Run], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one finished run"):
        write_report([], tmp_path / "report.html")
    page = write_report(runs, tmp_path / "report.html").read_text()
    text = words(page)
    for method in ("ce", "amkd"):
        mean = 100 * np.mean([run.summary["test_accuracy"] for run in runs if run.recipe.method == method])
        assert f"{mean:.2f}" in text
    assert "our reading of it" in text
    assert "seeds 0, 1" in text
    assert drawn(page)
    assert "Decision maps of spirals" in page
    again = write_report(runs, tmp_path / "again.html").read_text()
    assert re.sub(r"\s", "", again) == re.sub(r"\s", "", page)  # same runs, same file


@pytest.fixture(scope="module")
def settings(folder: Path) -> list[Run]:
    """Three settings of kd, one of them with another teacher, and amkd by another attack."""
    small = {"teacher": "mlp-tiny", "student": "mlp-tiny", "epochs": 1, "teacher_epochs": 1, "magsim_samples": 0}
    recipe = Recipe(dataset="moons", method="kd", num_train=60, batch_size=20, **small)
    recipes = [recipe, recipe.replace(epochs=2), recipe.replace(teacher="mlp-small", teacher_epochs=8)]
    recipes.append(recipe.replace(method="amkd", sampler="deepfool", attack_steps=4))
    return [distill(own, folder / str(i)) for i, own in enumerate(recipes)]


@pytest.fixture(scope="module")
def page(settings: list[Run], folder: Path) -> str:
    return write_report(settings, folder / "report.html").read_text()


def words(page: str) -> str:
    return re.sub(r"<script.*?</script>", "", page, flags=re.S)


def drawn(page: str) -> list[dict[str, Any]]:
    """Return the figures of a page, which must be strict JSON."""
    specs = re.findall(r'<script type="application/json">(.*?)</script>', page, re.S)
    return [json.loads(spec, parse_constant=lambda word: pytest.fail(f"{word} is not JSON")) for spec in specs]


def test_a_label_has_one_colour_in_the_whole_report(page: str) -> None:
    swatch = dict(re.findall(r"<i style='background:(#\w+)'></i>(.*?)</td>", page))
    swatch = {label: colour for colour, label in swatch.items()}
    assert len(swatch) == len(set(swatch.values())) == 4
    comparison, *maps, lines = drawn(page)
    rows = [trace["marker"]["color"] for trace in comparison["data"][1:]]  # after the lines between them
    labels = [re.sub("</?b>", "", text) for text in comparison["layout"]["yaxis"]["ticktext"]]
    assert dict(zip(labels, rows, strict=True)) == swatch
    legend = {t["name"]: t["line"]["color"] for t in lines["data"] if t.get("showlegend")}
    assert legend == swatch
    titles = [note["text"] for figure in maps for note in figure["layout"]["annotations"]]
    assert all(any(label in title for title in titles) for label in swatch)  # each setting is shown
    assert sum("<b>teacher mlp-" in title for title in titles) == len(maps) == 2  # beside its own teacher


def test_long_labels_are_letters_that_the_report_explains(settings: list[Run], page: str) -> None:
    text = words(page)
    comparison, *_, lines = drawn(page)
    rows = ["<b>kd A</b>", "<b>kd B</b>", "<b>kd C</b>", "<b>amkd</b>"]
    assert comparison["layout"]["yaxis"]["ticktext"] == rows
    assert [t["name"] for t in lines["data"] if t.get("showlegend")] == ["kd A", "kd B", "kd C", "amkd"]
    key = "A: teacher=mlp-tiny, epochs=1, teacher_epochs=1;<br>B: teacher=mlp-tiny, epochs=2, teacher_epochs=1;<br>C: "
    assert key in text
    assert text.count("teacher=mlp-tiny, epochs=1") == 3  # above all that has letters, with the curves, with objectives
    for view in (compare(settings), curves(settings)):
        assert "C: teacher=mlp-small, epochs=1, teacher_epochs=8. " in view.caption
    assert "kd (teacher=mlp-tiny, epochs=1, teacher_epochs=1).mean" in compare(settings).notes


def of_teachers(*paths: str) -> list[Any]:
    return [
        Finished(
            Recipe(method="kd", seed=seed, dataset="moons", teacher=path),
            test_accuracy=0.5 + i / 10,
            teacher_test_accuracy=0.9 + i / 100,
        )
        for i, path in enumerate(paths)
        for seed in (0, 1)
    ]


def test_files_are_told_without_folders_unless_that_makes_two_equal() -> None:
    names = compare(of_teachers("/data/one/x.safetensors", "/data/two/y.safetensors")).caption
    assert "y.safetensors" in names
    assert "/" not in names
    names = compare(of_teachers("/data/one/x.safetensors", "/data/two/x.safetensors")).caption
    assert "one/x.safetensors" in names
    assert "two/x.safetensors" in names
    assert "data" not in names


@pytest.mark.parametrize(("apart", "bold"), [(0.001, 0), (0.2, 1)])
def test_bold_is_what_is_beyond_the_noise(apart: float, bold: int) -> None:
    runs = [fake("kd", seed, share) for seed, share in enumerate((0.49, 0.5, 0.51))]
    runs += [fake("amkd", seed, share + apart) for seed, share in enumerate((0.49, 0.51, 0.5))]
    rows = table(runs)
    page = _table(rows, pairs(rows))
    assert page.count("class=main") == bold
    assert not bold or "<td class=main>70.00 ± 1.00</td>" in page
    one_seed = table([runs[0], runs[3]])
    assert "class=main" not in _table(one_seed, pairs(one_seed))
    assert "class=main" not in _table(rows[:1], [])


def test_pictures_are_of_the_median_student() -> None:
    accuracies = [0.9, 0.5, 0.7, 0.6]
    made = [fake("kd", seed, share) for seed, share in enumerate(accuracies)]
    (group,) = groups(made).values()
    assert group.median.recipe.seed == 3  # the lower one of the two in the middle
    (group,) = groups([*made, fake("kd", 4, 0.1)]).values()
    assert group.median.recipe.seed == 3
    (group,) = groups([fake("kd", 7, None)]).values()
    assert group.median.recipe.seed == 7


def test_a_run_that_was_changed_by_hand_never_leads() -> None:
    change = {"kind": "intervention", "epoch": 1, "batch": 3, "changes": {"learning_rate": 0.5}}
    rows = table([fake("kd", 0, 0.5), fake("kd", 1, 0.52), fake("kd", 2, 0.99, [change])])
    assert _lead(rows, pairs(rows)) == "kd: 51.00 ± 1.41 % test accuracy."
    assert _lead(rows[1:], []) == "No run counts as a seed of its recipe."


def test_the_report_compares_each_method_with_each_other() -> None:
    shares = {"ce": (0.50, 0.52, 0.53), "kd": (0.60, 0.63, 0.62), "bss": (0.61, 0.63, 0.65), "amkd": (0.4, 0.7, 0.6)}
    rows = table([fake(m, seed, share) for m, own in shares.items() for seed, share in enumerate(own)])
    page = _pairs(pairs(rows))
    assert page.count(" against ") == 6
    low, high = stats.ttest_rel(shares["kd"], shares["ce"]).confidence_interval()
    cells = ["kd against ce", "+10.00", f"+{100 * low:.2f} to +{100 * high:.2f}", "paired by seed, n = 3"]
    assert f"{'</td><td>'.join(cells)}</td><td class=main>seen beyond the noise</td>" in page
    assert "procedure corrects the verdicts for 6 pairs" in page


def test_the_report_tells_what_differs(settings: list[Run], page: str) -> None:
    text = words(page)
    assert "moons: student mlp-tiny, 60 training samples, methods kd, amkd, seed 0." in text
    assert "epochs 1 (kd, amkd) or 2 (kd)" in text
    assert "teacher mlp-tiny (kd, amkd) or mlp-small (kd)" in text
    accuracies = {f"{100 * run.summary['teacher_test_accuracy']:.2f}" for run in settings}
    commands = text[text.index("<details>") :]
    assert len(accuracies) == 2
    assert all(accuracy in commands for accuracy in accuracies)


def test_students_of_different_teachers_are_compared_with_their_own(settings: list[Run]) -> None:
    view = compare(settings)
    assert view.notes["teacher"] is None
    ends = [shape for shape in view.figure.layout.shapes if shape.line.width == 1.2]
    assert [(s.x0, (s.y0 + s.y1) / 2) for s in ends] == [
        (100 * run.summary["teacher_test_accuracy"], row) for row, run in enumerate(settings)
    ]
    assert "2 teachers" in view.caption
    assert "mlp-small" in view.caption
    one = compare(settings[:2])
    assert one.notes["teacher"] == settings[0].summary["teacher_test_accuracy"]
    assert "teachers" not in one.caption


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"step_rule": "newton", "attack_steps": 9}, "bss (step size 0.3, at most 9 steps, step rule newton)"),
        ({"sampler": "fgsm"}, "fgsm (epsilon 0.031)"),
        ({"sampler": "noise"}, "noise (epsilon 0.031)"),
        ({"sampler": "deepfool", "attack_steps": 4}, "deepfool (at most 4 steps)"),
    ],
)
def test_the_report_attacks_as_the_recipe_does(changes: dict[str, Any], sentence: str) -> None:
    recipe = Recipe(dataset="digits", **changes)
    digits = load("digits")
    nets = [build("cnn-small", digits, seed=seed).eval() for seed in (1, 1)]
    samples, index = boundary_samples(*nets, digits, recipe, 8)
    position = [digits.test.index.tolist().index(i) for i in index.tolist()]
    assert torch.equal(samples.origin, digits.test.floats(position))
    assert len(samples) == 8
    assert attack_words(recipe) == sentence
    if recipe.sampler != "noise":  # the same as in training
        own = recipe.boundary.sampler(nets[0], samples.origin, samples.target, torch.Generator())
        assert torch.allclose(samples.x, own.x, atol=1e-6)


def test_bases_are_from_the_whole_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("amkd_viz.views.report.CANDIDATES", 40)
    digits = load("digits")
    net = build("cnn-small", digits, seed=1).eval()
    with torch.no_grad():
        named = net(digits.test.floats()).argmax(1)
    right = dataclasses.replace(digits, test=dataclasses.replace(digits.test, y=named))  # so that any may be a base
    _, index = boundary_samples(net, net, right, Recipe(dataset="digits"), 40)
    assert set(index.tolist()) == set(digits.test.index[keep(len(digits.test), 40)].tolist())


@pytest.mark.browser
@pytest.mark.slow
def test_the_report_opens_offline_in_both_themes(runs: list[Run], tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    from amkd_viz.views.chromium import browser

    if browser() is None:
        pytest.skip("needs Chromium")
    path = write_report(runs, tmp_path / "report.html")
    with playwright.sync_playwright() as player:
        chromium = player.chromium.launch(executable_path=browser(), args=["--no-sandbox"])
        page = chromium.new_page(color_scheme="dark", viewport={"width": 1000, "height": 800})
        asked, errors = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(path.as_uri())
        page.wait_for_function("document.documentElement.dataset.ready === 'dark'")
        paper = "getComputedStyle(document.querySelector('.plot .main-svg')).backgroundColor"
        dark = page.evaluate(paper)
        page.click("#theme")
        page.wait_for_function("document.documentElement.dataset.ready === 'light'")
        assert page.evaluate(paper) != dark
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        chromium.close()
    assert wide <= 0  # nothing sticks out at 1000 px
    assert not errors
    assert not [url for url in asked if not url.startswith(("file:", "data:", "blob:"))]


def test_a_view_is_as_high_in_a_notebook_as_its_panels_need() -> None:
    tall, wide = View(squares(["a", "b", "c", "d", "e"])), View(squares(["a", "b"]))
    assert tall.for_notebook().layout.height > 600 > wide.for_notebook().layout.height
    assert tall.figure.layout.height is None

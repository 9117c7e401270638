"""EmbeddingLab and its canvas: without a browser what the traits say, in a real JupyterLab what the page does."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from amkd_viz.core.errors import InputError
from amkd_viz.data import Split
from amkd_viz.panels import embedding_lab
from amkd_viz.panels.embedding_lab import EmbeddingLab
from amkd_viz.panels.scatter import ATLAS, ScatterCanvas, atlas, identities
from amkd_viz.panels.session import Session
from amkd_viz.runs import Run, distill
from amkd_viz.runs.run import Listener
from amkd_viz.training import Recipe, Waiting
from amkd_viz.views.chosen import Chosen, choose
from tests.recipes import IMAGES

# without a browser


def test_an_example_that_is_trained_first_says_so_once(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def trained(name: str, listen: Listener) -> Run:
        for _ in range(3):
            listen(Waiting("another process trains it"))
        return run

    monkeypatch.setattr(embedding_lab, "example", trained)
    EmbeddingLab("digits", how="pca", most=50, rings=0).wait().close()
    assert capsys.readouterr().out.count("Training the example digits") == 1
    monkeypatch.setattr(embedding_lab, "example", lambda name, listen: run)
    EmbeddingLab("digits", how="pca", most=50, rings=0).wait().close()
    assert capsys.readouterr().out == ""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return distill(IMAGES, tmp_path_factory.mktemp("runs") / "one")


@pytest.fixture
def lab(run: Run) -> Iterator[EmbeddingLab]:
    made = EmbeddingLab(run, how="pca", most=120, rings=6)
    yield made.wait()
    made.close()
    made.close()


def ids_of(canvas: ScatterCanvas) -> list[int]:
    return list(np.frombuffer(canvas.ids, "<i4").tolist())


def test_what_is_on_the_canvas_is_what_the_nets_say(lab: EmbeddingLab, run: Run) -> None:
    picture = lab._picture
    assert picture is not None
    assert len(lab.map.teacher) == len(lab.map.student) == 8 * len(ids_of(lab.map))
    table = np.frombuffer(lab.map.facts, "<f4").reshape(-1, 7)
    with torch.no_grad():
        p = run.student().eval()(picture.sample_set.chosen.x).softmax(1)
    assert (table[:, 2] == p.argmax(1).numpy()).all()
    assert np.allclose(table[:, 3], p.amax(1), atol=1e-5)
    assert "UMAP" not in lab.status.text
    there = len(run.dataset().test)
    assert (
        f"120 of {there} test samples (one in 3, at most 120) and {int(picture.sample_set.chosen.boundary.sum())} bound"
        in lab.status.text
    )
    lab.set(most=400).wait()
    assert f"{there} test samples (all there are)" in lab.status.text
    assert "trust&shy;worthiness" in lab.numbers.value


def test_identity_survives_filter_sample_and_epoch(lab: EmbeddingLab) -> None:
    kept = ids_of(lab.map)[5:9]
    lab.select(kept, kept[1])
    lab.map.only = [3]
    lab.set(epoch=1, kind="prob")
    lab.wait()
    assert lab.selection == kept
    lab.set(rings=0)
    lab.wait()
    assert lab.selection == kept
    assert lab.map.picked == kept[1]
    lab.set(part="training")
    lab.wait()
    assert lab.selection == []  # the same numbers name other samples there


def test_the_picked_sample_has_its_triplets(lab: EmbeddingLab) -> None:
    assert lab.map.picked is not None
    assert lab.map.picked < 0  # a boundary sample, to begin with
    before = [row[2] for row in lab.bars.rows]
    lab.set(margin=0.0)
    lab.wait()
    assert sum(row[2] for row in lab.bars.rows) <= sum(before)
    assert [row[0] for row in lab.bars.rows] == [i for i, _ in lab.map.star["negatives"]]
    distances = [row[1] for row in lab.bars.rows]
    assert distances == sorted(distances)
    lab.map.picked = None
    lab.wait()
    assert lab.bars.rows == []
    assert "Click a sample" in lab.bars.empty


def test_what_misleads_is_marked_when_asked(lab: EmbeddingLab) -> None:
    assert lab.map.misleading == []
    lab.set(misleading=True)
    lab.wait()
    there = ids_of(lab.map)
    assert lab.map.misleading
    assert all(net in (0, 1) and set(own) <= set(there) for net, *own in lab.map.misleading)


def test_a_session_opens_where_it_was_saved(lab: EmbeddingLab, tmp_path: Path) -> None:
    chosen = [i for i in ids_of(lab.map) if i >= 0][:3]
    lab.select(chosen)
    lab.set(margin=0.4, epoch=1).wait()
    lab.map.morph = 0.5
    path = lab.save_session(tmp_path / "session.json")
    again = EmbeddingLab(Session.open(path)).wait()
    try:
        assert again.values == lab.values
        assert again.selection == chosen
        assert again.map.morph == 0.5
    finally:
        again.close()


def test_a_control_that_moves_before_the_run_is_read_is_heard(run: Run) -> None:
    made = EmbeddingLab(run, how="pca")
    made.set(most=50, rings=3)
    made.wait()
    assert len(ids_of(made.map)) <= 53
    made.close()


def test_the_code_does_the_same(lab: EmbeddingLab) -> None:
    code = lab.code()
    exec(compile(code, "code", "exec"), {})
    assert "how='pca'" in code


def test_bad_input_is_a_sentence(run: Run, lab: EmbeddingLab) -> None:
    with pytest.raises(InputError, match="tsne"):
        lab.set(how="tsne")
    with pytest.raises(InputError, match="margin"):
        lab.set(margin=9)
    with pytest.raises(InputError, match="epoch"):
        lab.set(epoch=99)
    with pytest.raises(InputError, match="samples"):
        lab.map.places(np.zeros((3, 2)), np.zeros((3, 2)))


def test_points_have_a_map_without_pictures(tmp_path: Path) -> None:
    recipe = Recipe(
        dataset="moons",
        teacher="mlp-tiny",
        student="mlp-tiny",
        epochs=1,
        max_boundary_samples=4,
        teacher_epochs=1,
        batch_size=50,
    )
    made = EmbeddingLab(distill(recipe, tmp_path / "moons"), how="pca", most=60).wait()
    assert made.map.sprites == b""
    assert "The map shows" in made.status.text
    made.close()


def test_nothing_to_show_says_what_to_do(tmp_path: Path, run: Run) -> None:
    with pytest.raises(InputError, match="train it"):
        EmbeddingLab(Run.create(tmp_path / "empty", run.recipe))


def test_epochs_that_were_trained_since_join_the_scrubber(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "training"
    shutil.copytree(run.path, folder)
    last = folder / "snapshots" / "epoch-0002.safetensors"
    (folder / "summary.json").rename(tmp_path / "summary.json")
    last.rename(tmp_path / last.name)
    made = EmbeddingLab(Run.open(folder), how="pca", most=60).wait()
    try:
        assert made["epoch"] == 1
        before = bytes(made.map.student)
        made.newest()
        made.wait()
        assert "Epoch 1 is the newest" in made.status.text
        (tmp_path / last.name).rename(last)
        made.newest()
        made.wait()
        assert list(made.controls["epoch"].options) == run.snapshots()
        assert made["epoch"] == 2
        assert made._scrubber.play.max == len(run.snapshots()) - 1
        assert bytes(made.map.student) != before
        assert "student after epoch 2" in made.status.text
    finally:
        made.close()


def test_umap_follows_pca_and_cancel_stays_there(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    from amkd_viz.panels import embedding_lab

    go, asked, real = threading.Event(), threading.Event(), embedding_lab.lay_out

    def slow(*about: Any) -> Any:
        if about[-1] == "umap":
            asked.set()
            go.wait(60)
        return real(*about[:-1], "pca")

    monkeypatch.setattr(embedding_lab, "lay_out", slow)
    made = EmbeddingLab(run, most=60)
    try:
        assert asked.wait(60)
        made.compute.wait()
        made.paint.wait()
        assert made.map.teacher  # PCA stands there while UMAP is computed
        assert "Computing UMAP" in made.status.text
        made.map.picked = ids_of(made.map)[3]
        made.compute.wait()
        made.paint.wait()
        assert made.bars.rows  # a click does not wait for it
        made.status.cancelled += 1
        go.set()
        made.wait()
        assert made["how"] == "pca"
        assert made._picture is not None
        assert made._picture.how == "pca"
    finally:
        go.set()
        made.close()


def test_an_atlas_fits_every_browser() -> None:
    png, (width, height, columns) = atlas(torch.rand(10_000, 1, 64, 48))
    with Image.open(io.BytesIO(png)) as sheet:
        assert max(sheet.size) <= ATLAS
        assert sheet.size[0] == width * columns
        assert height > width
    images = torch.rand(5, 3, 8, 8)
    png, (width, height, columns) = atlas(images)
    with Image.open(io.BytesIO(png)) as sheet:
        tile = np.asarray(sheet)[height : 2 * height, :width] / 255
    assert np.allclose(tile, images[columns].permute(1, 2, 0), atol=1 / 255)
    assert atlas(torch.rand(4, 2)) == (b"", [])


# in a browser

SCATTER = "document.querySelector('.amkd-scatter')"


CELL = "from amkd_viz.panels import EmbeddingLab\nlab = EmbeddingLab('digits', how='pca')\nlab"
IDS = "print(json.dumps(numpy.frombuffer(lab.map.ids, '<i4').tolist()))"


@pytest.fixture
def page(notebook: Any) -> Any:
    return notebook


def begin(notebook: Any) -> None:
    notebook.run()
    notebook.settled("The map shows")
    drawn(notebook.page)
    notebook.ask("import json, numpy")  # for what the tests ask


def drawn(page: Any) -> None:
    page.wait_for_selector(".amkd-scatter[data-count]:not([data-count='0'])", timeout=90_000)
    page.wait_for_function(f"() => {SCATTER}.amkd.at && {SCATTER}.dataset.moving === ''")


def data(page: Any, name: str, of: str = SCATTER) -> str:
    return str(page.evaluate(f"{of}.dataset.{name}"))


def where(page: Any, sample: int) -> tuple[float, float]:
    x, y = page.evaluate(f"{SCATTER}.amkd.locate({sample})")
    return x, y


def clear(notebook: Any) -> None:
    notebook.page.evaluate(f"{SCATTER}.amkd.choose([], false)")
    notebook.page.wait_for_function(f"() => {SCATTER}.dataset.selected === '0'")
    notebook.page.locator(".amkd-scatter").scroll_into_view_if_needed()
    notebook.page.evaluate(f"{SCATTER}.scrollIntoView({{block: 'start'}})")


@pytest.mark.browser
def test_hovering_shows_the_thumbnail_without_the_kernel(page: Any) -> None:
    clear(page)
    own = page.page
    sample = page.ask(IDS)[7]
    own.evaluate(
        """() => {
            window.sent = [];
            const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
            kernel.anyMessage.connect((_, m) => m.direction === 'send' && window.sent.push(m.msg.header.msg_type));
        }"""
    )
    page.ask("lab.wait()")
    own.evaluate("window.sent = []")
    own.mouse.move(*where(own, sample))
    own.wait_for_function(f"() => {SCATTER}.dataset.hover !== ''")
    assert own.evaluate(f"{SCATTER}.querySelector('.amkd-tip').checkVisibility()")
    width, colours = own.evaluate(
        f"""() => {{
            const canvas = {SCATTER}.querySelector('.amkd-tip canvas');
            const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
            return [canvas.width, new Set(pixels).size];
        }}"""
    )
    assert width >= 64
    assert colours > 3  # a picture, not a blank
    page.ask("lab.wait()")
    assert "comm_msg" not in own.evaluate("window.sent")
    assert own.locator(".amkd-tip").text_content().startswith(("test", "boundary sample from test"))


@pytest.mark.browser
def test_a_lasso_fills_table_gallery_and_trait(page: Any) -> None:
    clear(page)
    own = page.page
    box = own.locator(".amkd-scatter-stage canvas[tabindex]").bounding_box()
    x, y, w, h = box["x"] + 3, box["y"] + 3, box["width"] - 6, box["height"] - 6
    own.mouse.move(x, y)
    own.mouse.down()
    for u, v in ((x + w / 2, y), (x + w / 2, y + h), (x, y + h), (x, y)):
        own.mouse.move(u, v, steps=4)
    own.mouse.up()
    own.wait_for_function(f"() => Number({SCATTER}.dataset.selected) > 20")
    count = int(data(own, "selected"))
    page.until(lambda: data(own, "listed", "document.querySelector('.amkd-samples')") == str(count))
    page.until(lambda: page.ask("print(len(lab.selection))") == count)
    there = page.ask("print(json.dumps(lab.selection))")
    left = own.evaluate(f"{json.dumps(there)}.every(i => {SCATTER}.amkd.locate(i)[0] <= {x + w / 2 + 1})")
    assert left
    shown = own.evaluate("[...document.querySelectorAll('.amkd-samples tr[data-id]')].map(r => Number(r.dataset.id))")
    assert set(shown) <= set(there)
    page.until(lambda: own.locator(".amkd-gallery button").count() > 10)
    own.locator(".amkd-scatter-stage canvas[tabindex]").press("Escape")
    own.wait_for_function(f"() => {SCATTER}.dataset.selected === '0'")
    page.until(lambda: page.ask("print(json.dumps(lab.selection))") == [])


@pytest.mark.browser
def test_a_row_selects_in_the_map_and_in_the_kernel_and_the_kernel_in_both(page: Any) -> None:
    clear(page)
    own = page.page
    own.wait_for_function("() => document.querySelectorAll('.amkd-samples tr[data-id]').length === 150")
    own.locator(".amkd-scroll").evaluate("e => e.scrollTop = 900")
    row = own.locator(".amkd-samples tr[data-id]").nth(50)
    sample = int(row.get_attribute("data-id"))
    row.click()
    own.wait_for_function(f"() => {SCATTER}.dataset.picked === '{sample}' && {SCATTER}.dataset.selected === '1'")
    page.until(lambda: page.ask("print(json.dumps([lab.selection, lab.map.picked]))") == [[sample], sample])
    own.wait_for_function("() => Number(document.querySelector('.amkd-bars').dataset.rows) > 3")
    assert own.locator(".amkd-scroll").evaluate("e => e.scrollTop") > 500  # what was clicked stays in sight
    row.press("ArrowDown")
    own.keyboard.press("Shift+Enter")
    own.wait_for_function(f"() => {SCATTER}.dataset.selected === '2'")

    clear(page)
    page.ask("lab.select([int(i) for i in numpy.frombuffer(lab.map.ids, '<i4')[:5]])")
    own.wait_for_function(f"() => {SCATTER}.dataset.selected === '5'")
    own.wait_for_function("() => document.querySelector('.amkd-samples').dataset.listed === '5'")


@pytest.mark.browser
def test_a_click_picks_one_and_a_filter_keeps_it(page: Any) -> None:
    clear(page)
    own = page.page
    ids = page.ask(IDS)
    x, y = where(own, ids[11])
    own.mouse.click(x, y)
    own.wait_for_function(f"() => {SCATTER}.dataset.selected === '1'")
    picked = int(data(own, "picked"))
    other = page.ask(f"k = numpy.frombuffer(lab.map.label, '<u2')[{ids.index(picked)}]; print(int(k), 'x')")
    own.locator(".amkd-legend button").nth((int(other.split()[0]) + 1) % 10).click()
    own.wait_for_function(f"() => Number({SCATTER}.dataset.count) < 100")
    page.until(lambda: page.ask("print(json.dumps(lab.selection))") == [picked])
    own.locator(".amkd-legend button[aria-pressed=true]").click()
    own.wait_for_function(f"() => Number({SCATTER}.dataset.count) === {len(ids)}")
    assert data(own, "picked") == str(picked)


@pytest.mark.browser
def test_keys_walk_and_select(page: Any) -> None:
    clear(page)
    own = page.page
    canvas = own.locator(".amkd-scatter-stage canvas[tabindex]")
    canvas.focus()
    seen = set()
    for key in ("ArrowRight", "ArrowRight", "ArrowUp", "ArrowLeft", "ArrowLeft", "ArrowDown"):
        own.keyboard.press(key)
        seen.add(data(own, "hover"))
    assert len(seen) > 2
    hovered = data(own, "hover")
    own.keyboard.press("Enter")
    own.wait_for_function(f"() => {SCATTER}.dataset.picked === '{hovered}'")
    assert own.evaluate("document.activeElement.tagName") == "CANVAS"  # the notebook did not take the keys


@pytest.mark.browser
def test_morphing_walks_in_the_page_and_ends_in_the_trait(page: Any) -> None:
    clear(page)
    own = page.page
    ids = page.ask(IDS)
    start = where(own, ids[0])
    own.get_by_role("button", name="Show the student's layout").click()
    own.wait_for_function(f"() => {SCATTER}.dataset.morph === '1'")
    end = where(own, ids[0])
    assert start != end
    page.until(lambda: page.ask("print(lab.map.morph)") == 1)
    page.ask("lab.map.morph = 0.5")
    own.wait_for_function(f"() => {SCATTER}.dataset.morph === '0.5'")
    assert where(own, ids[0]) == pytest.approx([(a + b) / 2 for a, b in zip(start, end, strict=True)], abs=1)
    own.get_by_role("button", name="Show the teacher's layout").click()
    own.wait_for_function(f"() => {SCATTER}.dataset.morph === '0'")


@pytest.mark.browser
def test_an_epoch_arrives_without_a_jump(page: Any) -> None:
    own = page.page
    page.ask("lab.set(epoch=lab.run.snapshots()[20]).wait()")
    assert "epoch" in page.settled("The map shows")
    drawn(own)
    ids = page.ask(IDS)
    before = [where(own, i) for i in ids[:60]]
    page.ask("lab.set(epoch=lab.run.snapshots()[21]).wait()")
    page.settled("after epoch 42")  # a run of 200 epochs keeps every second student
    drawn(own)
    after = [where(own, i) for i in ids[:60]]
    moved = np.linalg.norm(np.array(after) - np.array(before), axis=1)
    assert np.median(moved) < 40  # pixels


@pytest.mark.browser
def test_epochs_play(page: Any) -> None:
    own = page.page
    before = page.ask("print(lab['epoch'])")
    own.locator(".widget-play button").first.click()
    own.wait_for_function(
        "(n) => !document.querySelector('.amkd-scrubber .widget-readout').textContent.startsWith(n)", arg=str(before)
    )
    own.locator(".widget-play button").nth(1).click()  # stops, and goes back to the first epoch
    first = page.ask("print(lab.controls['epoch'].options[0])")
    page.until(lambda: page.ask("print(lab['epoch'])") == first)
    page.ask("lab.set(epoch=200).wait()")
    page.settled("after epoch 200")


@pytest.mark.browser
def test_zooming_moves_the_map_and_not_the_page(page: Any) -> None:
    clear(page)
    own = page.page
    drawn(own)
    ids = page.ask(IDS)
    box = own.locator(".amkd-scatter-stage canvas[tabindex]").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    start = where(own, ids[2])
    own.mouse.move(*middle)
    own.keyboard.down("Control")
    own.mouse.wheel(0, -200)
    own.keyboard.up("Control")
    own.wait_for_function(f"() => {SCATTER}.amkd.camera.zoom > 1.5")
    zoomed = where(own, ids[2])
    assert np.hypot(*np.subtract(zoomed, middle)) > 1.5 * np.hypot(*np.subtract(start, middle))
    own.get_by_role("button", name="Show all samples").click()
    page.until(lambda: where(own, ids[2]) == pytest.approx(start, abs=0.5))


@pytest.mark.browser
def test_both_themes(page: Any) -> None:
    own = page.page
    for theme in ("dark", "light"):
        page.theme(theme)
        own.wait_for_function(f"() => {SCATTER}.dataset.theme === '{theme}'")
        ink = f"getComputedStyle({SCATTER}).getPropertyValue('--amkd-ink').trim()"
        own.wait_for_function(f"() => {SCATTER}.amkd.tone?.ink === {ink}")  # drawn in the new colours
        paper = own.evaluate("getComputedStyle(document.querySelector('.amkd-scatter-stage')).backgroundColor")
        assert (sum(map(int, paper[4:-1].split(","))) < 200) == (theme == "dark")
    own.set_viewport_size({"width": 1000, "height": 1300})
    body = own.locator(".amkd-embedding").first
    page.until(
        lambda: body.evaluate("e => e.clientWidth < 900 && e.scrollWidth <= e.clientWidth + 1")
    )  # nothing is cut
    sharp = "c => Math.abs(c.width - c.clientWidth * window.devicePixelRatio) < 2"
    page.until(lambda: own.locator(".amkd-scatter-stage canvas[tabindex]").evaluate(sharp))
    own.set_viewport_size({"width": 1500, "height": 1300})


@pytest.mark.browser
def test_a_reload_finds_the_panel_again(page: Any) -> None:
    own = page.page
    page.ask("lab.select([int(i) for i in numpy.frombuffer(lab.map.ids, '<i4')[:4]])")
    own.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    own.reload()
    page.ready()
    drawn(own)
    own.wait_for_function(f"() => {SCATTER}.dataset.selected === '4'")
    own.wait_for_function("() => document.querySelector('.amkd-samples').dataset.listed === '4'")


def test_names_are_text_and_identities_unique() -> None:
    index, boundary = np.array([4, 9, 4]), np.array([False, False, True])
    assert sorted(identities(Chosen(torch.zeros(3, 2), index * 0, index * 0, index, boundary)).tolist()) == [-5, 4, 9]
    canvas = ScatterCanvas()
    split = Split(torch.zeros(6, 1, 4, 4, dtype=torch.uint8), torch.arange(6) % 2, torch.arange(6))
    canvas.samples(choose(split), ["<b>bold</b>", ""])
    assert canvas.names == ["<b>bold</b>", "class 1"]  # the page writes them as text


# Of the joint map: whether something is written in ink above the centre of each class.
WRITTEN = f"""() => {{
    const {{ centres, dots }} = {SCATTER}.amkd, ratio = window.devicePixelRatio, pen = dots.getContext("2d");
    return (centres ?? []).map(([, i]) => {{
        const [x, y] = {SCATTER}.amkd.spot(i).map((v) => v * ratio);
        const {{ data }} = pen.getImageData(x - 4, y - 20 * ratio, 8, 10 * ratio);
        return data.some((v, n) => n % 4 === 0 && data[n + 3] === 255 && Math.max(v, data[n + 1], data[n + 2]) < 90);
    }});
}}"""


@pytest.mark.browser
@pytest.mark.parametrize("count", [12, 30])
def test_letters_stand_for_the_names_of_many_classes(page: Any, count: int) -> None:
    clear(page)
    own = page.page
    own.evaluate(f"{SCATTER}.amkd.canvas.blur()")
    names = [f"kind {k}" for k in range(count)]
    before = page.ask("print(json.dumps(lab.map.names))")
    page.ask(f"lab.map.names = {names!r}")
    try:
        drawn_names = [str(k) if count > 20 else names[k] for k in range(10)]  # the samples are of ten classes
        page.until(lambda: sorted(data(own, "letters").split(" | ")) == sorted(drawn_names))
        page.until(lambda: (written := own.evaluate(WRITTEN)) and all(written))  # they are made anew after a change
        legend = [f"{k} {name}" if count > 20 else name for k, name in enumerate(names)]
        page.until(lambda: own.locator(".amkd-legend button").all_inner_texts() == legend)
    finally:
        page.ask(f"lab.map.names = {before!r}")


@pytest.mark.browser
def test_a_table_of_samples_cuts_no_class(page: Any) -> None:
    clear(page)
    own = page.page
    before = page.ask("print(json.dumps(lab.map.names))")
    cells = "[...document.querySelectorAll('.amkd-samples tr[data-id]')].map(r => [...r.cells].slice(1, 4)"
    page.until(lambda: own.evaluate(f"{cells}.map(c => c.textContent)).length") > 100)
    short = own.evaluate(f"{cells}.map(c => c.textContent))[0]")
    assert short[1].partition(" · ")[0] in before  # a short name stands before its probability
    page.ask("lab.map.names = [f'a kind, {k}' for k in range(10)]")
    try:
        page.until(lambda: own.evaluate(f"{cells}.map(c => c.title))[0][0]").startswith("a kind"))
        page.until(lambda: len(own.evaluate(f"{cells}.map(c => c.textContent))")) > 100)
        shown = own.evaluate(f"{cells}.map(c => [c.textContent, c.title, c.querySelector('i').style.background]))")
        colour = {name: colour for (name, _, colour), *_ in shown}
        assert len(set(colour.values())) == len(colour) > 5
        for (name, title, _), *predicted in shown:
            assert name == title
            for text, of, swatch in predicted:  # the colour stands for a long name
                assert re.fullmatch(r"\d+ %", text)
                assert colour.get(of, swatch) == swatch
        wide = f"{cells}.flatMap(c => [...c.querySelectorAll('span')]).filter(s => s.scrollWidth > s.clientWidth))"
        assert own.evaluate(f"{wide}.flat().length") == 0
    finally:
        page.ask(f"lab.map.names = {before!r}")

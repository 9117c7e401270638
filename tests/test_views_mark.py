"""What a view or a report writes takes the place of its own earlier file and of no other."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from amkd_viz.core.errors import InputError
from amkd_viz.views import View
from amkd_viz.views.layout import blank
from amkd_viz.views.report import write_report
from amkd_viz.views.view import WRITERS
from docs.gallery import gallery_page

ENDINGS = [".html", ".png", ".svg", ".gif", ".npz"]
SVG = b'<svg class="main-svg" xmlns="http://www.w3.org/2000/svg" width="4" height="4"></svg>'


def drawn(kind: str, colour: str = "red") -> bytes:
    if kind == "svg":
        return SVG.replace(b"main-svg", colour.encode())
    file, frames = io.BytesIO(), [Image.new("RGB", (4, 4), c) for c in (colour, "white")]
    frames[0].save(file, kind, **({"save_all": True, "append_images": frames[1:]} if kind == "gif" else {}))
    return file.getvalue()


@pytest.fixture(autouse=True)
def _no_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of the right kind at once."""
    monkeypatch.setattr("amkd_viz.views.writers.rendered", lambda figure, kind, *_: drawn(kind))
    monkeypatch.setitem(WRITERS, ".gif", lambda *_: drawn("gif"))


def view(number: float = 1.0) -> View:
    return View(blank(), {"a": np.full(3, number)}, title=f"number {number}")


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_view_replaces_its_own_file_and_no_other(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{ending}"
    first = view().save(path).read_bytes()
    assert view().save(path).read_bytes() == first
    view(2.0).save(path)  # the cell is run again with another number
    content = {".html": b"<!doctype html><p>mine", ".svg": SVG, ".npz": b""}.get(ending) or drawn("png")
    if ending == ".gif":
        content = drawn("gif")
    if ending == ".npz":
        np.savez(path, mine=np.arange(3))
        content = path.read_bytes()
    for own in (content, b"", b"a text about amkd_viz view"):
        path.write_bytes(own)
        with pytest.raises(InputError, match=r"exists, was not written as a view and is not overwritten; choose ano"):
            view().save(path)
        assert path.read_bytes() == own
    assert list(tmp_path.iterdir()) == [path]


def test_a_marked_file_is_read_like_any(tmp_path: Path) -> None:
    paths = {ending: view().save(tmp_path / f"x{ending}") for ending in ENDINGS}
    with Image.open(paths[".png"]) as picture:
        assert picture.text == {"Software": "amkd_viz view"}
        assert picture.convert("RGB").getpixel((0, 0)) == (255, 0, 0)
    with Image.open(paths[".gif"]) as animation:
        assert animation.n_frames == 2
    with np.load(paths[".npz"]) as arrays:
        assert arrays["a"].tolist() == [1, 1, 1]
    assert '<meta name="generator" content="amkd_viz view">' in paths[".html"].read_text()[:300]
    assert paths[".svg"].read_bytes() == drawn("svg") + b"<!-- amkd_viz view -->\n"


def test_a_view_is_no_report_and_a_report_no_view(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = view().save(tmp_path / "x.html")
    with pytest.raises(InputError, match="not written as a gallery"):
        gallery_page(path)
    with pytest.raises(InputError, match="not written as a report"):
        write_report([None], path)  # type: ignore[list-item]  # asked before any run is read
    monkeypatch.setattr("docs.gallery.views", lambda: iter([view()]))
    other = gallery_page(tmp_path / "gallery.html")
    assert gallery_page(other).read_bytes().startswith(b"<!doctype html>")
    with pytest.raises(InputError, match="not written as a view"):
        view().save(other)


def test_a_folder_in_the_way_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Is a directory"):
        View(blank()).save(tmp_path.rename(tmp_path.with_suffix(".html")))


def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, link = tmp_path / "x.html", os.link

    def late(old: Path, new: Path) -> None:
        path.write_text("mine")
        link(old, new)

    monkeypatch.setattr("amkd_viz.core.files.os.link", late)
    with pytest.raises(InputError, match="Cannot write"):
        view().save(path)
    assert path.read_text() == "mine"

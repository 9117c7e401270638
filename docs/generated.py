"""Generate pages from files of the repository: tutorials from the notebooks, the gallery, the changelog.

Notebooks are executed, unless AMKD_DOCS=quick is set: then their outputs and the gallery's figures are left out.
"""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from plotly import io as pio
from plotly.offline import get_plotlyjs
from traitlets.config import Config

from amkd_viz.core.errors import InputError
from amkd_viz.objectives import methods
from amkd_viz.objectives.cards import card, table
from amkd_viz.playground import write_playground
from amkd_viz.runs import distill
from amkd_viz.training.examples import PRESETS, SPIRALS
from amkd_viz.views import View, recording
from amkd_viz.views.page import figures_js
from docs.papers import table as papers_table
from docs.where import mapped, pairs, results, section, view

ROOT = Path(__file__).parent.parent
QUICK = os.environ.get("AMKD_DOCS") == "quick"
COPIED = {  # page -> file of the repository
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "tutorials/instructor/lecture_plan.md": "notebooks/instructor/lecture_plan.md",
    "tutorials/instructor/script.md": "notebooks/instructor/script.md",
    "tutorials/instructor/sheet.md": "notebooks/instructor/sheet.md",
    "tutorials/instructor/answers.md": "notebooks/instructor/answers.md",
}
PLACES = {  # link in a notebook or a copied file -> link on the site
    "../README.md#limits": "../explanation/traps.md#limits",
    "../docs/pages/explanation/where.md": "../explanation/where.md",
    "instructor/lecture_plan.md": "instructor/lecture_plan.md",
    "answers.md": "answers.md",
    "script.md": "script.md",
    "sheet.md": "sheet.md",
    "lecture_plan.md": "lecture_plan.md",
    "docs/pages/explanation/architecture.md": "explanation/architecture.md",
}
DRAW = '<script src="{root}/assets/plotly.min.js"></script><script src="{root}/assets/figures.js"></script>'
OWN = '!!! note ""\n    The output of this cell depends on your machine.\n'
ZOO = """# Every method

Each method is a sum of terms; `amkd-viz methods NAME` prints the same cards. *Exact* means equal to numbers of the
published code, to 1e-9 of the loss and 1e-8 of its gradient: the file in `tests/golden` is named. A reading is our
choice where a text leaves something open.

## Papers

A name is that of a method, or of a sampler, a weight per sample, a past self, a view, an order of the samples, an
update, or an experiment."""
METHODS = "## Methods"
PUBLISHED = """## Published recipes

`amkd-viz distill --preset NAME --method METHOD` takes these settings, and of the weights those of the method's terms;
other flags override them. Weights that are not listed are the defaults on the method's card."""
HIDDEN = '<details markdown="1"><summary>Decide first, then open the result.</summary>'
STUDY = re.compile(r"<!-- study ([\w-]+) -->")  # a place for the results of one of its levels
LIVE = '!!! note ""\n    This panel is live in JupyterLab (`make lab`).\n'
figures: dict[str, str] = {}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages. MkDocs calls this after reading docs_dir."""
    for page, name in COPIED.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=_links(text, page)))
    for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")):
        page = f"tutorials/{path.stem}.md"
        files.append(File.generated(config, page, content=_links(tutorial(path), page)))
    for folder, page in (("docs/images", "images"), ("notebooks/images", "tutorials/images")):
        for picture in sorted(p for p in (ROOT / folder).iterdir() if p.suffix in (".png", ".gif", ".svg")):
            files.append(File.generated(config, f"{page}/{picture.name}", abs_src_path=str(picture)))
    files.append(File.generated(config, "assets/plotly.min.js", content=get_plotlyjs()))
    script = f"{figures_js()}\n{(ROOT / 'docs/figures.js').read_text(encoding='utf-8')}"
    files.append(File.generated(config, "assets/figures.js", content=script))
    files.append(File.generated(config, "explanation/zoo.md", content=zoo()))
    files.append(File.generated(config, "assets/gallery.html", content=_gallery()))
    files.append(File.generated(config, "assets/playground.html", content=_playground()))
    files.append(File.generated(config, "assets/recording.html", content=_recording()))
    return files


def on_page_content(html: str, page: Any, **kwargs: Any) -> str:
    """Insert the figures, which Markdown would treat as text."""
    found = re.findall(r"<p>(@@[\w-]+@@)</p>", html)
    for token in found:
        html = html.replace(f"<p>{token}</p>", figures[token])
    root = "/".join([".."] * page.file.url.count("/")) or "."
    return html + DRAW.replace("{root}", root) if found else html


def on_page_markdown(markdown: str, page: Any, **kwargs: Any) -> str:
    """Insert the results of the study where the page asks for them."""
    return STUDY.sub(lambda place: _study(place[1]), markdown)


def _study(level: str) -> str:
    found = results(level)
    if level == "map":
        maps = [_drawn(view(found, pair), f"study-map-{number}") for number, pair in enumerate(pairs(found))]
        return "\n\n".join([mapped(found), *maps])
    return section(found) + (f"\n\n{_drawn(view(found), f'study-{level}')}" if len(found["regimes"]) > 2 else "")


def _drawn(made: View, name: str) -> str:
    """Return a place for a view's figure in a page, and the view's caption."""
    token, spec = f"@@{name}@@", made.figure.to_plotly_json()
    figures[token] = _plot({"data": spec["data"], "layout": spec["layout"]})
    return f"{token}\n\n{made.caption}"


def zoo() -> str:
    """Return the page of all methods: papers, methods, presets; then every card."""
    papers = _table("paper | name | our reading | checked with", papers_table())
    found = _table("source | method | our loss | checked with", ((s, f"[`{n}`](#{n})", r, c) for s, n, r, c in table()))
    numbers = []
    for name, own in PRESETS.items():
        numbers.append((f"`{name}`", str(own.recipe).replace("|", ""), own.source))
        numbers += [(f"`{name}`", f"{key} = {value}", source) for key, (value, source) in own.weights.items()]
    presets = _table("preset | settings | source", numbers)
    cards = [f"## {name}\n\n{_fenced(str(card(name)))}" for name in methods]
    return "\n\n".join([ZOO, papers, METHODS, found, PUBLISHED, presets, *cards])


def _table(head: str, rows: Iterable[Sequence[str]]) -> str:
    rule = "|".join(["", *["---"] * (head.count("|") + 1), ""])
    return "\n".join([f"| {head} |", rule, *(f"| {' | '.join(row)} |" for row in rows)])


def tutorial(path: Path) -> str:
    """Return the Markdown of a notebook with its outputs."""
    notebook = nbformat.read(path, as_version=4)
    if not QUICK:
        _execute(notebook)
    parts = []
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(_fenced(cell.source, "python"))
        if "remove_output" in cell.metadata.get("tags", ()):  # nbconvert's name for this
            parts.append(OWN)
            continue
        shown = [_output(o, f"@@{path.stem}-{number}-{i}@@") for i, o in enumerate(cell.outputs)]
        parts += [HIDDEN, *shown, "</details>"] if "predict(" in cell.source and shown else shown
    source = f"*Made from `notebooks/{path.name}`; `make lab` opens it.*"
    return "\n\n".join([parts[0], source, *parts[1:]])


def _execute(notebook: nbformat.NotebookNode) -> None:
    from nbclient import NotebookClient

    with TemporaryDirectory() as folder:
        (Path(folder) / "exercises").symlink_to(ROOT / "notebooks/exercises")
        # Sockets in the folder: over TCP a kernel warns that it is not encrypted.
        sockets = Config({"KernelManager": {"transport": "ipc", "ip": f"{folder}/kernel"}})
        where = {"metadata": {"path": folder}}
        os.environ["AMKD_REVEAL"] = "1"  # no reader locks a prediction; the page has a fold in its place
        NotebookClient(notebook, timeout=900, kernel_name="python3", resources=where, config=sockets).execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = _joined(cell.outputs)


def _joined(outputs: list[Any]) -> list[Any]:
    """Join consecutive pieces of one stream into one output."""
    found: list[Any] = []
    for output in outputs:
        if found and output.output_type == found[-1].output_type == "stream" and output.name == found[-1].name:
            found[-1].text += output.text
        else:
            found.append(output)
    return found


def _output(output: Any, token: str) -> str:
    if output.output_type == "stream":
        return _fenced(output.text.rstrip())
    data = output.get("data", {})
    if "application/vnd.plotly.v1+json" in data:
        spec = data["application/vnd.plotly.v1+json"]
        figures[token] = _plot({key: spec[key] for key in ("data", "layout", "frames") if key in spec})
        return token
    if "application/vnd.jupyter.widget-view+json" in data:
        return LIVE + _picture(data.get("text/plain", ""))
    if "amkd-still-words" in data.get("text/html", ""):
        return html.escape(data["text/plain"])
    if "amkd-still" in data.get("text/html", ""):
        return ""  # of the panel above, at a moment of chance
    if "text/markdown" in data:  # its headings are not the page's
        return _fenced(html.unescape(data["text/markdown"].rstrip()), "markdown")
    if "text/html" in data:
        # for JupyterLab, and for the pages that nbconvert makes
        text = re.sub(r"<(script|style)>.*?</\1>", "", data["text/html"], flags=re.DOTALL)
        return "".join(text.splitlines())
    text = data.get("text/plain", "")
    return _fenced(text) if text else ""


def _plot(spec: dict[str, Any]) -> str:
    """Return the HTML of a figure, which the page's script draws."""
    height = spec["layout"].get("height", 420)
    text = pio.json.to_json_plotly(spec).replace("</", "<\\/")
    return f'<div class="amkd-plot" style="height:{height}px"></div><script type="application/json">{text}</script>'


def _picture(panel: str) -> str:
    """Return the picture of a panel, by its text "DistillLab(...)", in the scheme of the reader."""
    kind = panel.partition("(")[0]
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", kind).lower()
    if not (ROOT / f"docs/images/{name}.png").exists():
        return ""
    schemes = {"": "light", "-dark": "dark"}
    return "\n" + "\n".join(f"![{kind}](../images/{name}{e}.png#only-{scheme})" for e, scheme in schemes.items()) + "\n"


def _fenced(text: str, language: str = "text") -> str:
    """Return a code block whose fence is longer than any inside ``text``."""
    fence = "`" * max([3, *(1 + len(run) for run in re.findall("`{3,}", text))])
    return f"{fence}{language}\n{text}\n{fence}"


def _links(text: str, page: str) -> str:
    """Point links between notebooks to their pages; unlink what the site does not contain; leave code unchanged."""

    def moved(match: re.Match[str]) -> str:
        words, target = match["words"], match["target"]
        if words is None:
            return match[0]
        if target in PLACES:
            return f"[{words}]({PLACES[target]})"
        if re.fullmatch(r"(?:\.\./)?\d\d_\w+\.ipynb", target):
            return f"[{words}]({target.removesuffix('.ipynb')}.md)"
        return match[0] if target.startswith(("http", "#")) else words

    code = r"^(?P<fence>`{3,})[^\n]*\n.*?^(?P=fence)$|`[^`\n]+`"
    return re.sub(rf"(?ms){code}|(?<!!)\[(?P<words>[^\]\n]+)\]\((?P<target>[^)\s]+)\)", moved, text)


def _gallery() -> str:
    if QUICK:
        return "<!doctype html><title>Gallery</title><p>Left out of a quick build."
    with TemporaryDirectory() as folder:
        path = Path(folder) / "gallery.html"
        subprocess.run([sys.executable, "-m", "docs.gallery", str(path)], cwd=ROOT, check=True)
        return path.read_text(encoding="utf-8")


def _recording() -> str:
    """Return the page of a training that DistillLab could have made."""
    if QUICK:
        return "<!doctype html><title>Recording</title><p>Left out of a quick build."
    with TemporaryDirectory() as folder:
        run = distill(SPIRALS.replace(method="amkd", device="cpu"), Path(folder) / "run")
        return recording(run).save(Path(folder) / "recording.html").read_text(encoding="utf-8")


def _playground() -> str:
    """Return the page of the spirals, or a page that says what it needs."""
    if QUICK:
        return "<!doctype html><title>Playground</title><p>Left out of a quick build."
    with TemporaryDirectory() as folder:
        try:
            return write_playground(Path(folder) / "playground.html").read_text(encoding="utf-8")
        except InputError as error:
            return f"<!doctype html><title>Playground</title><p>{html.escape(str(error))}"

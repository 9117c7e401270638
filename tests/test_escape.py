"""Hostile names through each door: HTML, Plotly, the model card, the terminal."""

from __future__ import annotations

import ast
import re
from html.parser import HTMLParser

import pytest
import torch
from recipes import POINTS

from amkd_viz.boundary import bss
from amkd_viz.core.escape import for_html, for_markdown, for_terminal, in_code
from amkd_viz.data import Dataset, Split, datasets, register
from amkd_viz.export import export
from amkd_viz.models import build
from amkd_viz.panels.attack_words import attack_table
from amkd_viz.panels.distill_words import code_of
from amkd_viz.runs import Run, distill
from amkd_viz.views import boundary_map, write_report
from amkd_viz.views.crossings import crossings_of

HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(2)> %{x} $y$",
    "a`b``c | d\n```python\nimport os\n```\n# title [link](https://example.org) ![i](x.png) *b* _i_ \x1b[31mred\x07",
)


class Seen(HTMLParser):
    """Collects elements, attributes and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def hostile():
    """A data set with such class names."""

    @register("hostile")
    def load_hostile(seed: int = 0) -> Dataset:
        x = torch.rand(60, 2, generator=torch.Generator().manual_seed(0))
        split = Split(x, torch.arange(60) % 3, torch.arange(60))
        return Dataset.assemble("hostile", HOSTILE, split, split, seed=seed)

    yield load_hostile
    datasets.forget("hostile")


@pytest.fixture(scope="module")
def run(hostile, tmp_path_factory) -> Run:
    recipe = POINTS.replace(dataset="hostile", epochs=1, teacher_epochs=1, num_train=30, magsim_samples=0)
    run = distill(recipe, tmp_path_factory.mktemp("hostile") / "run")
    run.log({"kind": "note", "text": HOSTILE[2]})
    return run


@pytest.mark.parametrize("name", HOSTILE)
def test_one_function_per_target(name):
    seen = Seen(f"<p>{for_html(name)}</p>")
    assert (seen.tags, seen.text) == (["p"], name.replace("\r", ""))
    assert not re.search(r"%\{|\$", for_html(name))  # which Plotly and MathJax read
    line = for_markdown(name)
    assert not re.search(r"[`|*_\[\]<>\n!:\\\x1b]", line)
    assert Seen(f"<p>{line}</p>").text == for_terminal(name)
    assert for_terminal(name).isprintable()
    fence = re.match("`+", in_code(name))[0]
    assert in_code(name).count(fence) == 2
    assert "\n" not in in_code(name)


def test_a_report_shows_names_and_runs_none_of_them(run, tmp_path):
    page = write_report([run], tmp_path / "report.html").read_text()
    body = re.sub(r"<script>.*?</script>", "<script></script>", page, flags=re.DOTALL)
    seen = Seen(body)
    assert "img" not in seen.tags
    assert not [name for name in seen.attributes if name.startswith("on")]
    assert "alert(1)</script>" not in page.replace("<\\/", "")
    figure = boundary_map(run.student(), run.dataset(), resolution=4).figure.to_json()
    assert "<script>" not in figure
    assert "<img" not in figure
    assert "%{x} " not in figure.replace("%{x}:", "")


def test_panels_show_names_as_text(hostile):
    net, data = build("mlp-tiny", num_classes=3, shape=(2,)).eval(), hostile()
    samples = bss(net, data.test.x[:1], torch.tensor([1]), keep_path=True)
    seen = Seen(attack_table({"<b>net</b>": samples}, {"<b>net</b>": crossings_of(net, samples)}, data.classes))
    assert set(seen.tags) == {"table", "tr", "th", "td"}
    assert "<b>net</b>" in seen.text


def test_the_card_quotes_names_and_its_code_is_one_program(run, tmp_path):
    done = export(run, tmp_path / "a'b\"`{x}.pt2", "torch-export")
    card = done.card.read_text()
    assert card.count("```") == 2  # the snippet's own fence
    (code,) = re.findall(r"```python\n(.*?)\n```", card, re.DOTALL)
    strings = [node.value for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Constant)]
    assert "a'b\"`{x}.pt2" in strings
    text = card.replace(code, "")
    assert Seen(text).tags == []
    assert not re.search(r"!\[|\]\(|\x1b|^# title", text, re.MULTILINE)
    assert for_markdown(HOSTILE[0]) in text
    assert f"Note of the training: {for_markdown(HOSTILE[2])}" in text


def test_the_terminal_gets_no_commands_from_names(call, run, monkeypatch, tmp_path):
    monkeypatch.setattr("amkd_viz.views.report.write_report", lambda *_: tmp_path)
    with (run.path / "metrics.jsonl").open("a") as log:
        log.write("damaged\n")
    where = tmp_path / "a\x1b[31mb"
    where.mkdir()
    run.path.rename(where / "run")
    for words in (("report", where), ("report", where / "\x1b[2J"), ("distill", "--dataset", "folder:\x1b[31mx")):
        _, out, err = call(*words)
        assert "\x1b" not in out + err
        assert "\\x1b[" in out + err
    assert code_of(None, run.recipe).isascii()

"""Cards: one docstring per method or term, shown by the command line and the docs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from amkd_viz import experiments
from amkd_viz.core.errors import InputError
from amkd_viz.objectives import ce, kd, methods, terms
from amkd_viz.objectives.cards import KEYS, card, parsed, table
from amkd_viz.objectives.sources import views
from amkd_viz.objectives.zoo.per_sample import per_sample
from amkd_viz.training.orders import ORDERS
from amkd_viz.training.update import UPDATES
from docs.papers import PAPERS
from docs.papers import table as papers

TESTS = Path(__file__).parent


def test_parts_of_a_docstring():
    doc = """Transfer
    the shape.

    Formula: a + b,
    and c
    Trap: none: really

    More words, not shown.
    Source: x
    """
    assert parsed(doc) == {
        "idea": "Transfer the shape.",
        "Formula": "a + b, and c",
        "Trap": "none: really",
        "Source": "x",
    }
    assert parsed(None) == {"idea": ""}


@pytest.mark.parametrize("name", methods)
def test_every_method_has_a_whole_card(name):
    made = card(name)
    assert set(made.parts) == set(KEYS), name
    assert all(made.parts.values())
    assert made.idea
    assert made.idea.startswith(methods.about(name)[:60])
    assert len(methods.about(name)) <= 100  # one line of --help
    assert made.sum == str(methods[name]())
    assert re.match("exact|our reading", made.parts["Reading"])


@pytest.mark.parametrize("name", terms)
def test_every_term_has_a_whole_card(name):
    kind = terms[name]
    assert set(parsed(kind.__doc__)) >= {"idea", "Formula", "Source", "Reading", "Trap", "Checked"}
    assert kind.title
    assert kind.unit
    assert kind.short


@pytest.mark.parametrize("name", terms)
def test_a_golden_file_that_a_card_names_is_read_by_a_test(name):
    found = re.findall(r"\b(?:zoo|seed\d)_\w+", parsed(terms[name].__doc__)["Checked"])
    tests = "".join(path.read_text(encoding="utf-8") for path in TESTS.glob("test_zoo*.py"))
    for file in found:
        assert f'"{file}"' in tests or f'"{file.partition("_")[2]}"' in tests, file


def test_what_a_method_leaves_out_comes_from_its_terms():
    methods.register("own-kd")(lambda: ce() + kd(temperature=2) * 2)
    try:
        made = card("own-kd")
        assert made.idea == parsed(kd.__doc__)["idea"]
        assert made.sum == "ce() + 2 * kd(temperature=2, t2=False)"
        assert made.reads == "student on clean, teacher on clean"
        assert methods.about("own-kd") == (kd.__doc__ or "").partition("\n")[0]
    finally:
        methods.forget("own-kd")


def test_the_command_line_shows_cards(call):
    status, out, err = call("methods")
    assert (status, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == list(methods)
    status, out, _ = call("methods", "dkd")
    assert status == 0
    assert out == f"{card('dkd')}\n"
    assert call("methods", "margin_mse")[1].startswith("margin_mse: Transfer differences of logits")
    status, out, err = call("methods", "dkdd")
    assert (status, out) == (2, "")
    assert err.startswith("amkd-viz methods: Unknown method 'dkdd'; did you mean 'dkd'")
    with pytest.raises(InputError, match="Unknown method 'x'"):
        card("x")


def test_every_paper_has_a_name_a_reading_and_a_test():
    rows = {paper: rest for paper, *rest in papers()}
    assert rows["DOT, ICCV 2023"] == ["`dot` (update)", "exact", "seed1_dot"]
    assert rows["SDD, CVPR 2024"][2] == "zoo_sdd"
    assert all(all(cells) and "|" not in "".join(cells) for cells in rows.values())
    named = {name.rpartition(":")[2] for names in PAPERS.values() for name in names.split()}
    golden = {word for _, _, checked in rows.values() for word in re.findall(r"(?:zoo|seed\d)_\w+", checked)}
    assert golden == {path.stem for path in (TESTS / "golden").glob("[sz]*.npz") if not path.stem.endswith("_t")}
    ours = {"ce", "amkd-dkd", "amkd-ls-kd", "boundary_kd", "boundary_triplet", "triplet", "sure"}
    assert set(methods()) - methods.registered - named <= ours
    assert set(per_sample) <= named | {"sure", "ada", "wls", "replayed"}
    assert set(views) - named <= {"view2", "last"}
    assert set(ORDERS) | set(UPDATES) <= named | {"shuffle", "tasks", "sum"}
    assert set(experiments.__all__) - named <= {"Experiment", "class_correlations"}


def test_the_table_has_a_row_per_method():
    assert [name for _, name, _, _ in table()] == list(methods)
    assert ("Hinton, Vinyals, Dean, 2015, arXiv 1503.02531", "hinton", "exact", "zoo_kd") in set(table())
    assert not any("|" in cell for row in table() for cell in row)

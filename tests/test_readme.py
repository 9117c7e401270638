"""The Python of the README and of the how-to page runs as it is."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from amkd_viz.objectives import methods
from amkd_viz.panels.panel import Panel
from amkd_viz.runs.stats import paired

ROOT = Path(__file__).parent.parent


def blocks(path: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / path).read_text(encoding="utf-8"), re.DOTALL)


HOW_TO = blocks("docs/pages/how_to.md")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(code: list[str], names: dict[str, object]) -> dict[str, object]:
    before = set(methods)
    try:
        for block in code:
            exec(compile(block, "page.md", "exec"), names)
    finally:
        for name in set(methods) - before:
            methods.forget(name)
        for made in names.values():
            if isinstance(made, Panel):
                made.close()
    return names


@pytest.mark.slow
def test_the_blocks_of_the_readme_run_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    names = run(blocks("README.md"), {})
    assert "boundary_triplet(" in capsys.readouterr().out
    assert names["run"].finished  # type: ignore[attr-defined]
    assert names["child"].finished  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(HOW_TO)))
def test_each_recipe_of_the_how_to_page_runs_alone(number: int) -> None:
    assert run([HOW_TO[number]], {})


def test_the_numbers_of_the_demo_are_those_of_its_results() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = json.loads((ROOT / "benchmarks/results/demo.json").read_text(encoding="utf-8"))
    digits, spirals = found["digits"], found["spirals"]
    for own, methods_ in ((digits, digits["mean"]), (spirals, spirals["mean"])):
        for method in methods_:
            assert f"{100 * own['mean'][method]:.2f} ± {100 * own['sd'][method]:.2f}" in readme, method
    pairs = [(digits, "bss - kd"), (digits, "amkd - bss"), (digits, "bss x8 - kd x8"), (digits, "kd x8 - amkd")]
    for own, pair in [*pairs, (spirals, "bss - kd"), (spirals, "amkd - bss")]:
        points, low, high = own["points"][pair]
        assert f"{points:+.2f} [{low:.2f}, {high:.2f}]" in " ".join(readme.split()), pair
    other = json.loads((ROOT / "benchmarks/results/demo_avx2.json").read_text(encoding="utf-8"))
    assert other["used"] == "AVX2"
    for pair in ("kd - ce", "amkd - kd"):
        told = ["{:+.2f} [{:.2f}, {:.2f}]".format(*own["points"][pair]) for own in (digits, other["digits"])]
        assert " and ".join(told) in " ".join(readme.split()), pair


def study(level: str) -> dict[str, Any]:
    """The regimes of a level of the study."""
    found: dict[str, Any] = json.loads((ROOT / f"benchmarks/results/study_{level}.json").read_text(encoding="utf-8"))
    return found["regimes"]


def interval(tested: dict[str, Any]) -> str:
    return "{:+.2f} [{:.2f}, {:.2f}]".format(*tested["difference"])


def row_of(regime: dict[str, Any], methods: tuple[str, ...], pairs: tuple[str, ...]) -> str:
    means = [f"{mean:.2f} ± {sd:.2f}" for mean, sd in (regime["test"][method] for method in methods)]
    return " | ".join([*means, *(interval(regime["points"][pair]) for pair in pairs)])


NAMES = {
    "cifar10-1000": "CIFAR-10, 1,000",
    "cifar10-2000": "CIFAR-10, 2,000",
    "tiny-imagenet-2000": "Tiny ImageNet, 2,000",
}


def test_the_numbers_of_the_study_are_those_of_its_results() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = {name: row for level in ("small", "cifar", "tiny") for name, row in study(level).items()}
    assert len(found) == 6
    for name, regime in found.items():
        row = row_of(regime, ("ce", "kd", "bss", "amkd"), ("bss - kd", "amkd - bss"))
        assert f"| {NAMES.get(name, name.replace('-', ', '))} | {row} |" in readme
    assert not any(own["shown"] for regime in found.values() for own in regime["points"].values())
    gains = {
        name: [row["test"][m][0] - row["test"]["ce"][0] for m in ("kd", "bss", "amkd")] for name, row in found.items()
    }
    assert all(abs(gain) < 2 for name in NAMES for gain in gains[name])  # on photographs, on either side
    assert all(10.5 < gain[0] < 22 for name, gain in gains.items() if name not in NAMES)


def test_the_numbers_beside_crd_and_of_all_readings_are_those_of_their_results() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    where = (ROOT / "docs/pages/explanation/where.md").read_text(encoding="utf-8")
    steps, shown = ("crd", "kd-crd", "bss-crd", "amkd-crd"), {}
    pairs = ("bss-crd - kd-crd", "amkd-crd - bss-crd")
    for name, regime in {**study("crd"), **study("cifar-crd")}.items():
        assert f"| {NAMES.get(name, name.replace('-', ', '))} | {row_of(regime, steps, pairs)} |" in readme
        shown[name] = [regime["points"][pair]["shown"] for pair in pairs]
        assert interval(regime["points"][pairs[0]]).lstrip("+") in where
    assert shown == {"spirals-100": [True, False], "digits-50": [True, True], "cifar10-2000": [False, False]}
    words, ahead = " ".join(readme.split()), {}
    beside = study("cifar-crd")["cifar10-2000"]
    assert {pair for pair, own in beside["points"].items() if own["shown"]} == {
        *("crd - bss", "kd-crd - crd", "amkd-crd - crd", "amkd-crd - bss"),
    }
    assert max(beside["test"], key=lambda method: beside["test"][method][0]) == "crd"
    for pair in ("crd - bss", "kd-crd - crd"):
        assert interval(beside["points"][pair]).lstrip("+") in words
    for name, row in study("full").items():
        tested = {pair: own for pair, own in row["points"].items() if pair == "amkd - bss" or own["shown"]}
        ahead[name] = [pair for pair, own in tested.items() if own["shown"]]
        assert all(interval(own) in words for own in tested.values())
    assert ahead == {"spirals-100": ["amkd-crd - bss"], "digits-50": ["amkd-scheduled - bss"]}


def test_the_map_of_the_study_shows_what_is_said() -> None:
    found = study("map")
    tested = {(name, pair): own for name, row in found.items() for pair, own in row["points"].items()}
    shown = {place: own["difference"] for place, own in tested.items() if own["shown"]}
    assert (len(found), len(tested)) == (21, 126)
    assert shown == {
        ("blobs-300", "bss - kd"): [0.18, 0.08, 0.27],
        ("spirals-30", "amkd - bss"): [-5.42, -9.01, -1.84],
        ("digits-25-tiny", "bss - kd"): [-8.72, -12.51, -4.93],
        ("digits-25-tiny", "amkd-leap - bss-leap"): [-7.8, -12.59, -3.01],
    }
    gains = {name: row["test"]["kd"][0] - row["test"]["ce"][0] for name, row in found.items()}
    assert 23 < max(gains.values()) < 24
    assert all(gain < 0.5 for name, gain in gains.items() if name.startswith(("blobs-100", "blobs-300")))
    assert {row["labels_per_class"] for row in found.values()} >= {2.5, 100}


def test_the_numbers_of_many_methods_are_those_of_their_results() -> None:
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    files = {
        n: json.loads((ROOT / f"benchmarks/results/{n}.json").read_text()) for n in ("cifar10_methods", "all_methods")
    }
    cifar = files["cifar10_methods"]["results"]
    for own in cifar.values():
        assert "{mean:.2f} ± {sd:.2f}".format(**{k: 100 * own["test_accuracy"][k] for k in ("mean", "sd")}) in readme
    for one, other in (("crd", "ce"), ("amkd", "bss")):
        made = paired(*(cifar[name]["test_accuracy"]["values"] for name in (one, other)))
        assert "{:+.2f} [{:.2f}, {:.2f}]".format(made.points, *made.interval) in readme
    every = files["all_methods"]["methods"]
    for name in (*list(every)[:3], "amkd", "bss", "kd", "ce"):
        assert (
            f"`{name}` {'has ' if name == 'amkd' else ''}{every[name]['accuracy']:.2f} ± {every[name]['sd']:.2f}"
            in readme
        )
    assert len(every) == 99
    assert "Ninety-nine methods" in readme

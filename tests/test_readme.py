"""The Python of the README and of the how-to page runs as it is."""

from __future__ import annotations

import json
import re
from pathlib import Path

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


def test_the_numbers_of_the_study_are_those_of_its_results() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = json.loads((ROOT / "benchmarks/results/study_small.json").read_text(encoding="utf-8"))
    for name, regime in found["regimes"].items():
        data, labels = name.split("-")
        row = next(line for line in readme.splitlines() if line.startswith(f"| {data}, {labels} |"))
        means = [f"{mean:.2f} ± {sd:.2f}" for mean, sd in (regime["test"][m] for m in ("ce", "kd", "bss", "amkd"))]
        pairs = [regime["points"][pair]["difference"] for pair in ("bss - kd", "amkd - bss", "bss - bss-leap")]
        assert (
            row
            == " | ".join([f"| {data}, {labels}", *means, *(f"{p:+.2f} [{a:.2f}, {b:.2f}]" for p, a, b in pairs)])
            + " |"
        )
        assert not any(own["shown"] for own in regime["points"].values())


def test_the_numbers_beside_crd_and_on_cifar10_are_those_of_their_results() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    where = (ROOT / "docs/pages/explanation/where.md").read_text(encoding="utf-8")
    levels = {level: ROOT / f"benchmarks/results/study_{level}.json" for level in ("crd", "cifar", "full")}
    found = {level: json.loads(path.read_text(encoding="utf-8"))["regimes"] for level, path in levels.items()}
    steps = ("crd", "kd-crd", "bss-crd", "amkd-crd")
    for name, row in found["crd"].items():
        means = [f"{mean:.2f} ± {sd:.2f}" for mean, sd in (row["test"][step] for step in steps)]
        pairs = [row["points"][pair] for pair in ("bss-crd - kd-crd", "amkd-crd - bss-crd")]
        told = ["{:+.2f} [{:.2f}, {:.2f}]".format(*own["difference"]) for own in pairs]
        assert f"| {name.replace('-', ', ')} | {' | '.join([*means, *told])} |" in readme
        assert [own["shown"] for own in pairs] == [True, name == "digits-50"]
        assert "{1:.2f}, {2:.2f}]".format(*pairs[0]["difference"]) in where
    words, ahead = " ".join(readme.split()), {}
    for name, row in found["full"].items():
        tested = {pair: own for pair, own in row["points"].items() if pair == "amkd - bss" or own["shown"]}
        ahead[name] = [pair for pair, own in tested.items() if own["shown"]]
        for own in tested.values():
            assert "{:+.2f} [{:.2f}, {:.2f}]".format(*own["difference"]) in words
    assert ahead == {"spirals-100": ["amkd-crd - bss"], "digits-50": ["amkd-scheduled - bss"]}
    (row,) = found["cifar"].values()
    for method, (mean, sd) in row["test"].items():
        assert f"`{method}` {mean:.2f} ± {sd:.2f}" in readme
    assert "{:+.2f} [{:.2f}, {:.2f}]".format(*row["points"]["amkd - bss"]["difference"]) in readme
    assert not any(own["shown"] for own in row["points"].values())
    assert max(row["test"], key=lambda method: row["test"][method][0]) == "ce"


def test_the_map_of_the_study_shows_what_is_said() -> None:
    found = json.loads((ROOT / "benchmarks/results/study_map.json").read_text(encoding="utf-8"))["regimes"]
    tested = {(name, pair): own for name, row in found.items() for pair, own in row["points"].items()}
    shown = {place: own["difference"] for place, own in tested.items() if own["shown"]}
    assert (len(found), len(tested)) == (20, 120)
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

"""Recipe: every field's bounds are enforced in one sentence, and a recipe survives its way through JSON."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from amkd_viz.boundary import samplers
from amkd_viz.core.errors import InputError
from amkd_viz.training import Recipe

FIELDS = {field.name: field for field in dataclasses.fields(Recipe)}
BELOW = [(n, f.metadata["low"], f.type) for n, f in FIELDS.items() if "low" in f.metadata]
ABOVE = [(n, f.metadata["high"], f.type) for n, f in FIELDS.items() if "high" in f.metadata]
CHOICES = [n for n, f in FIELDS.items() if "choices" in f.metadata]
WHOLE = [n for n, f in FIELDS.items() if "int" in str(f.type) and "words" not in f.metadata]
REAL = [n for n, f in FIELDS.items() if f.type == "float"]
WORDS = [
    (n, f"{'a whole number' if 'int' in str(f.type) else 'a number'} or {f.metadata['words'][0]}")
    for n, f in FIELDS.items()
    if "words" in f.metadata
]
TEXT = [n for n, f in FIELDS.items() if "str" in str(f.type) and n not in ("overrides", *dict(WORDS))]
NO_INTEGERS = [2.5, "3", True, float("nan"), float("inf"), [3], 3j, b"3"]
NO_NUMBERS = ["0.1", False, float("nan"), None, (0.1,)]


def refused(**values) -> str:
    with pytest.raises(InputError) as caught:
        Recipe(**values)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    return message


@pytest.mark.parametrize(
    ("name", "bound", "beyond"),
    [(n, low, low / 2 - 1e-9 if "float" in kind else low - 1) for n, low, kind in BELOW]
    + [(n, high, high * 1.01 if "float" in kind else high + 1) for n, high, kind in ABOVE],
)
def test_bounds(name, bound, beyond):
    about = FIELDS[name].metadata
    allowed = f"between {about['low']:g} and {about['high']:g}" if "high" in about else f"at least {about['low']:g}"
    assert refused(**{name: beyond}) == f"{name} must be {allowed}, got {beyond:g}."
    assert getattr(Recipe(**{name: bound}), name) == bound


@pytest.mark.parametrize(
    ("name", "kind", "values"),
    [
        *((n, "a whole number", NO_INTEGERS) for n in WHOLE),
        *((n, "a number", NO_NUMBERS) for n in REAL),
        *((n, kind, [*NO_NUMBERS, "AUTO"]) for n, kind in WORDS),
        *((n, "a text", [3]) for n in TEXT),
    ],
)
def test_values_of_another_type(name, kind, values):
    assert FIELDS[name].metadata["help"]
    for value in values:
        assert refused(**{name: value}) == f"{name} must be {kind}, got {value!r}."


@pytest.mark.parametrize("name", CHOICES)
def test_choices(name):
    allowed = list(FIELDS[name].metadata["choices"])
    whole = [value + {"part": ":0,1", "tasks": ":2", "replay": ":2"}.get(value, "") for value in allowed]
    assert [getattr(Recipe(**{name: value}), name) for value in whole] == whole
    message = refused(**{name: allowed[0] + "x"})
    assert message.startswith(f"Unknown {name} '{allowed[0]}x'; did you mean '{allowed[0]}'")
    assert all(value in message for value in allowed)


def test_whole_floats_and_numpy_numbers_become_plain_ones():
    recipe = Recipe(epochs=3.0, seed=np.int64(4), learning_rate=np.float32(0.5), momentum=0)
    values = (recipe.epochs, recipe.seed, recipe.learning_rate, recipe.momentum)
    assert values == (3, 4, 0.5, 0.0)
    assert [type(v) for v in values] == [int, int, float, float]
    json.dumps(recipe.to_json())
    paths = Recipe(root=Path("data"), teacher=Path("some/net.safetensors"))
    assert {paths: 1} == {Recipe(root="data", teacher="some/net.safetensors"): 1}
    assert "import the checkpoint first: amkd-viz import some/net.pt" in refused(teacher="some/net.pt")
    for name in ("epochs", "method", "precision", "learning_rate"):
        assert "got None" in refused(**{name: None})
    assert "must be between" in refused(learning_rate=float("inf"))


def test_json_there_and_back():
    recipe = Recipe(
        dataset="spirals", teacher="mlp", student="mlp-tiny", num_train=60, overrides={"kd.scale": 2, "ce.weight": 0.5}
    )
    values = json.loads(json.dumps(recipe.to_json()))
    assert set(values) == set(FIELDS)
    assert Recipe.from_json(values) == recipe
    assert Recipe.from_json(values).hash == recipe.hash
    assert Recipe.from_json({}) == Recipe()
    with pytest.raises(InputError, match=r"Unknown recipe field 'epoch'; did you mean 'epochs'"):
        Recipe.from_json({"epoch": 3})
    with pytest.raises(InputError, match="epochs must be between 1 and 10000, got 0"):
        Recipe.from_json({"epochs": 0})


def test_numbers_of_a_sweep_are_plain_and_hash_alike():
    ways = [3, 3.0, np.int64(3), np.float32(3), torch.tensor(3.0)]
    made = [Recipe(overrides={"kd.temperature": way, "boundary_kd.t2": np.bool_(True)}) for way in ways]
    assert {recipe.hash for recipe in made} == {made[0].hash}
    assert {type(recipe.overrides["kd.temperature"]) for recipe in made} == {float}
    assert made[-1].overrides["boundary_kd.t2"] is True
    with pytest.raises(InputError, match=r"kd\.temperature must be a number, got True"):
        Recipe(overrides={"kd.temperature": True})


def test_a_recipe_from_before_teachers_had_settings_keeps_its_teacher():
    values = Recipe(batch_size=20, learning_rate=0.05, teacher_batch_size=64).to_json()
    assert Recipe.from_json(values).teacher_batch_size == 64
    del values["teacher_batch_size"], values["teacher_learning_rate"]
    old = Recipe.from_json(values)
    assert (old.teacher_batch_size, old.teacher_learning_rate) == (20, 0.05)


def test_the_hash_is_the_same_in_another_process():
    code = "from amkd_viz.training.recipe import Recipe; print(Recipe(epochs=7, overrides={'kd.scale': 2}).hash)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1]
    )
    assert done.stdout.strip() == Recipe(epochs=7, overrides={"kd.scale": 2}).hash
    assert len(done.stdout.strip()) == 10


def test_the_hash_feels_every_field():
    other = {
        "dataset": "moons",
        "root": "elsewhere",
        "teacher": "cnn-small",
        "student": "cnn-small",
        "method": "bss",
        "overrides": {"kd.scale": 2},
        "device": "cpu",
        "num_train": 100,
        "peer": "cnn-tiny",
        "fresh_subset": True,
        "trust_teacher": True,
        "order": "hard",
        "cache_teacher": "all",
    } | {name: list(FIELDS[name].metadata["choices"])[1] for name in CHOICES}
    base = Recipe()
    hashes = [base.hash]
    for name in FIELDS:
        value = other.get(name, getattr(base, name))
        if name not in other:
            value = value / 2 if FIELDS[name].type == "float" else value + 1
        hashes.append(base.replace(**{name: value}).hash)
    assert len(set(hashes)) == 1 + len(FIELDS)


def test_a_recipe_is_frozen_and_keeps_its_own_changes():
    given = {"kd.scale": 2}
    recipe = Recipe(overrides=given)
    given["kd.scale"] = 3
    assert recipe.overrides == {"kd.scale": 2}
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.epochs = 3
    assert recipe.replace(epochs=9).epochs == 9
    assert recipe.epochs == 30
    with pytest.raises(InputError, match="epochs must be between"):
        recipe.replace(epochs=10_001)


def test_changes_reach_the_objective():
    recipe = Recipe(
        overrides={"boundary_triplet.margin": 0.2, "boundary_triplet.mining": "hard", "kd.scale": 0.5, "ce.weight": 3}
    )
    term = {t.name: t for t, _ in recipe.objective.summands}["boundary_triplet"]
    assert (term.margin, term.mining) == (0.2, "hard")
    plain, changed = Recipe().objective.weights(0.5), recipe.objective.weights(0.5)
    assert changed["kd"] == plain["kd"] / 2 == 1.25
    assert (plain["ce"], changed["ce"]) == (1, 3)
    assert changed["boundary_kd"] == plain["boundary_kd"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"boundary_triplets.margin": 1}, r"Unknown term 'boundary_triplets'; did you mean 'boundary_triplet'"),
        ({"kd.temprature": 4}, r"Unknown field of kd 'temprature'; did you mean 'temperature'"),
        ({"kd": 4}, r"Unknown field of kd ''\. Allowed: weight, scale, temperature"),
        ({"kd.temperature": "warm"}, "kd.temperature must be a number, got 'warm'"),
        ({"kd.temperature": 0}, "kd.temperature must be between 0.5 and 20, got 0"),
        ({"kd.weight": float("nan")}, "kd.weight must be a number, got nan"),
        ({"kd.scale": float("inf")}, "kd.scale must be finite, got inf"),
        ({"kd.scale": -1}, "kd.scale must be at least 0, got -1"),
        ({"boundary_triplet.margin": 5}, "boundary_triplet.margin must be between 0 and 4, got 5"),
        ({"boundary_triplet.mining": "soft"}, "Unknown boundary_triplet.mining 'soft'"),
        ({"kd.t2": "perhaps"}, "kd.t2 must be True or False, got 'perhaps'"),
        (None, r"overrides must map TERM.FIELD to numbers.*not None"),
        ("kd.scale=2", "overrides must map TERM.FIELD to numbers"),
        ({1: 2}, r"overrides must map TERM.FIELD to numbers.*\{1: 2\}"),
    ],
)
def test_changes_that_mean_nothing(changes, message):
    with pytest.raises(InputError, match=message):
        Recipe(overrides=changes)


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("ce", {"ce.weight": 0}),
        ("kd", {"ce.weight": 0, "kd.scale": 0}),
        ("bss", {"ce.weight": 0, "kd.weight": 0}),  # boundary_kd alone: 0 from three quarters on
    ],
)
def test_an_epoch_without_any_loss(method, changes):
    assert "must leave a term with a weight in every epoch" in refused(method=method, overrides=changes)
    assert Recipe(method="bss", overrides={"ce.weight": 0}).objective.weights(1.0)["kd"] == 1


@pytest.mark.parametrize("sampler", samplers)
def test_the_sampler_takes_its_numbers_from_the_recipe(sampler):
    recipe = Recipe(sampler=sampler, step_size=0.1, attack_steps=4, step_rule="newton", max_boundary_samples=7)
    assert recipe.boundary.limit == 7
    made, given = recipe.boundary.sampler, {"step_size": 0.1, "steps": 4, "step_rule": "newton"}
    names = [field.name for field in dataclasses.fields(made)]
    assert all(getattr(made, name) == value for name, value in given.items() if name in names)
    overridden = recipe.replace(overrides={f"{sampler}.{names[0]}": getattr(made, names[0]) * 2})
    assert getattr(overridden.boundary.sampler, names[0]) == getattr(made, names[0]) * 2
    assert overridden.objective == recipe.objective
    message = refused(sampler=sampler, overrides={f"{sampler}.stepsize": 1})
    assert message.startswith(f"Unknown field of {sampler} 'stepsize'")
    assert all(name in message for name in names)


def test_several_teachers_and_peers(tmp_path):
    file = f"{tmp_path}/a+b/net.safetensors"
    recipe = Recipe(teacher=f"{file}+cnn+torchvision:resnet18", peer="cnn-tiny+mlp")
    assert recipe.teachers == (file, "cnn", "torchvision:resnet18")
    assert recipe.peers == ("cnn-tiny", "mlp")
    assert (Recipe().teachers, Recipe().peers) == (("cnn",), ())
    assert refused(teacher="cnn+resnet-8").startswith("Unknown teacher 'resnet-8'; did you mean 'resnet8'")
    assert refused(peer="cnn+net.safetensors").startswith("Unknown peer 'net.safetensors'")  # a peer is trained here
    assert Recipe(teacher="", method="ce").teachers == ()  # a teacher's own recipe
    assert refused(teacher="cnn+").startswith("Unknown teacher ''")

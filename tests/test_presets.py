"""Published recipes by name, on the command line and in Python."""

from __future__ import annotations

import argparse

import pytest

from amkd_viz.core.errors import InputError
from amkd_viz.flags import changes_of, recipe_flags, recipe_of
from amkd_viz.models import build
from amkd_viz.objectives import methods, terms
from amkd_viz.training import Recipe
from amkd_viz.training.examples import CIFAR, PRESETS, preset


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    recipe_flags(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_a_recipe_for_every_method(name):
    assert PRESETS[name].source
    for method in methods:
        recipe = preset(name, method)
        assert recipe.method == method
        assert Recipe.from_json(recipe.to_json()) == recipe
    for key, (value, source) in PRESETS[name].weights.items():
        term, _, field = key.partition(".")
        assert field == "scale" or getattr(terms[term](**{field: value}), field) == value
        assert source


def test_the_crd_recipe_as_published():
    recipe = preset("crd-cifar100", "dkd")
    assert recipe.overrides == {"dkd.beta": 8.0}
    assert (recipe.epochs, recipe.batch_size, recipe.learning_rate, recipe.weight_decay) == (240, 64, 0.05, 5e-4)
    net = build(recipe.student, num_classes=100, shape=(3, 32, 32), shortcut=recipe.shortcut_of(recipe.student))
    assert sum(p.numel() for p in net.parameters()) == 1_233_540
    assert preset("crd-cifar100-resnet20", "dkd").overrides == {"dkd.beta": 2.0}
    assert preset("crd-cifar100-wrn", "dkd").overrides == {"dkd.beta": 6.0}
    assert preset("crd-cifar100", "at").objective.summands[-1][0].stages == 3
    assert preset("heo-cifar10", "bss") == CIFAR.replace(method="bss")


def test_flags_override_a_preset():
    assert recipe_of(parsed("--preset", "crd-cifar100", "--method", "at")) == preset("crd-cifar100", "at")
    recipe = recipe_of(parsed("--preset", "crd-cifar100", "--method", "dkd", "--set", "dkd.beta=3", "--epochs", "7"))
    assert recipe == preset("crd-cifar100", "dkd").replace(overrides={"dkd.beta": 3.0}, epochs=7)
    args = parsed("--preset", "crd-cifar100", "--set", "kd.scale=2")
    assert changes_of(args, ["dkd", "at", "kd"]) == {"dkd.beta": 8.0, "at.stages": 3, "kd.scale": 2}
    with pytest.raises(InputError, match="Unknown preset 'crd-cifar10'; did you mean 'crd-cifar100'"):
        recipe_of(parsed("--preset", "crd-cifar10"))


def test_a_shortcut_reaches_student_and_teacher_where_they_have_one():
    from amkd_viz.training.teachers import teacher_recipe

    recipe = Recipe(dataset="cifar10", teacher="resnet8+cnn", student="cnn-tiny", shortcut="conv")
    assert [teacher_recipe(recipe, place).shortcut for place in (0, 1)] == ["conv", "pad-end"]
    assert recipe.shortcut_of("cnn-tiny") is None
    assert recipe.shortcut_of("resnet20") == "conv"

"""Fields that check themselves, and registries of methods, samplers and terms."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch

from amkd_viz import boundary
from amkd_viz.boundary import BSS, FGSM, Sampler, bss, samplers
from amkd_viz.cli import main
from amkd_viz.core.errors import InputError
from amkd_viz.core.fields import Fields, option
from amkd_viz.core.registry import Registry
from amkd_viz.models import build
from amkd_viz.objectives import Objective, Term, ce, kd, known_terms, methods, terms
from amkd_viz.training import Recipe


@dataclass(frozen=True, repr=False)
class Oven(Fields):
    degrees: float = option(180.0, "temperature", low=50, high=250)
    trays: int = option(1, "number of trays", low=1)
    fan: bool = option(False, "circulate the air")
    dish: str = option("bread", "what is baked", choices=("bread", "cake"))
    timer: int | None = option(None, "minutes", low=1)
    folder: str = option(".", "where the recipes are")
    notes: dict = option({}, "anything")  # noqa: RUF009
    inner: BSS = field(default_factory=BSS)


@pytest.mark.parametrize(
    ("name", "given", "kept"),
    [
        ("degrees", 200, 200.0),
        ("degrees", np.float64(99.5), 99.5),
        ("trays", 2.0, 2),
        ("trays", np.int64(3), 3),
        ("fan", np.True_, True),
        ("timer", None, None),
        ("timer", 5.0, 5),
        ("notes", {"a": 1}, {"a": 1}),
        ("folder", Path("a") / "b", str(Path("a") / "b")),
    ],
)
def test_a_field_is_converted_where_nothing_is_lost(name, given, kept):
    value = getattr(Oven(**{name: given}), name)
    assert value == kept
    assert type(value) is type(kept)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"degrees": 251}, "degrees must be between 50 and 250, got 251"),
        ({"degrees": float("nan")}, "degrees must be a number, got nan"),
        ({"degrees": "180"}, "degrees must be a number, got '180'"),
        ({"degrees": True}, "degrees must be a number, got True"),
        ({"trays": 0}, "trays must be at least 1, got 0"),
        ({"trays": 1.5}, "trays must be a whole number, got 1.5"),
        ({"trays": None}, "trays must be a whole number, got None"),
        ({"fan": 1}, "fan must be True or False, got 1"),
        ({"dish": "cakes"}, r"Unknown dish 'cakes'; did you mean 'cake'\? Allowed: bread, cake"),
        ({"dish": 3}, "dish must be a text, got 3"),
        ({"folder": "a\0b"}, r"folder: the text 'a\\x00b' holds a null character or half of a surrogate pair\."),
        ({"folder": "\ud800"}, "folder: the text .* holds a null character or half of a surrogate pair"),
    ],
)
def test_a_field_refuses_what_it_does_not_accept(overrides, sentence):
    with pytest.raises(InputError, match=sentence):
        Oven(**overrides)


def test_fields_print_the_code_that_makes_them():
    assert repr(Oven()) == "Oven()"
    oven = Oven(200, fan=True, notes={"a": 1}, inner=BSS(steps=3))
    assert repr(oven) == "Oven(degrees=200.0, fan=True, notes={'a': 1}, inner=BSS(steps=3))"
    assert eval(repr(oven)) == oven
    assert oven.overrides_of_default() == {"degrees": 200.0, "fan": True, "notes": {"a": 1}, "inner": BSS(steps=3)}
    assert Oven().notes is not Oven().notes


# ------------------------------------------------------------------ registries


def test_a_registry_keeps_names_apart_and_offers_the_nearest():
    dishes = Registry("dish", how="dishes.register")
    dishes.add("bread", len)

    @dishes.register("cake")
    def cake():
        """Sweet.

        And round."""

    assert (dishes(), dishes.about("cake")) == (["bread", "cake"], "Sweet.")
    assert "pie" not in dishes
    dishes.register("cake", max)  # a notebook cell runs twice
    assert dishes["cake"] is max
    with pytest.raises(InputError, match=r"Unknown dish 'cak'; did you mean 'cake'.*own by dishes.register\('cak'\)"):
        dishes["cak"]
    with pytest.raises(InputError, match="'bread' is a dish of amkd_viz; choose another name"):
        dishes.register("bread", max)
    for name in ("", "2nd", "a b", "a.b", None):
        with pytest.raises(InputError, match="A dish's name must be a letter, then"):
            dishes.register(name, max)
    for name in ("cake", "bread", "pie"):
        dishes.forget(name)
    assert dishes() == ["bread"]


@pytest.fixture
def own():
    """A method, a sampler and a term under names of their own."""

    @terms.register("calm")
    @dataclass(frozen=True, repr=False)
    class calm(Term):
        pull: float = option(0.5, "strength", low=0.0, high=1.0)

        def reads(self):
            return [("student", "clean", None)]

        def __call__(self, step):
            return self.pull * step.outputs().logits.square().mean(1)

    @samplers.register("jump")
    @dataclass(frozen=True, repr=False)
    class Jump(Sampler):
        """Half a BSS step."""

        step_size: float = option(0.1, "size of the jump", low=0.01, high=1.0)

        def __call__(self, net, x, target, generator):
            return bss(net, x, target, steps=1, step_size=self.step_size)

    @methods.register("calm-kd")
    def calm_kd():
        """KD, with small logits."""
        return ce() + kd() * 2 + calm()

    @methods.register("alone")
    def alone():
        """A single term, which is a sum too."""
        return ce()

    yield Jump
    for registry, name in ((methods, "calm-kd"), (methods, "alone"), (samplers, "jump"), (terms, "calm")):
        registry.forget(name)


def test_own_names_reach_recipes_and_help(own, capsys):
    recipe = Recipe(method="calm-kd", sampler="jump", overrides={"calm.pull": 1, "jump.step_size": 0.5})
    assert recipe.objective.summands[2][0].pull == 1
    assert recipe.boundary.sampler == own(step_size=0.5)
    assert Recipe.from_json(recipe.to_json()) == recipe
    assert Recipe(sampler="jump", step_size=0.4).boundary.sampler.step_size == 0.4
    assert methods.about("calm-kd") == "KD, with small logits."
    assert isinstance(methods["alone"](), Objective)
    assert "calm" in known_terms()
    with pytest.raises(SystemExit):
        main(["distill", "--help"])
    shown = capsys.readouterr().out
    for word in ("calm-kd", "jump", "step_size=0.1", "pull=0.5"):
        assert word in shown
    for overrides, sentence in (
        ({"calm.pull": 2}, "calm.pull must be between 0 and 1, got 2"),
        ({"jump.step": 2}, "Unknown field of jump 'step'"),
        ({"jump.step_size": 2}, "step_size must be between 0.01 and 1, got 2"),
    ):
        with pytest.raises(InputError, match=sentence):
            Recipe(method="calm-kd", sampler="jump", overrides=overrides)


@pytest.mark.parametrize(
    ("registry", "name", "thing", "sentence"),
    [
        (methods, "amkd", ce, "'amkd' is a method of amkd_viz"),
        (methods, "mine", lambda: 3, r"Method 'mine' must return a sum of terms, such as ce\(\) \+ kd\(\), got 3"),
        (samplers, "bss", FGSM, "'bss' is a sampler of amkd_viz"),
        (samplers, "mine", bss, "Sampler 'mine' must be a subclass of boundary.Sampler, got <function bss"),
        (terms, "kd", ce, "'kd' is a term of amkd_viz"),
        (terms, "mine", len, "Term 'mine' must be a subclass of objectives.Term, got <built-in function len>"),
        (terms, "mine", ce, "Term ce must be registered under its own name 'ce', got 'mine'"),
    ],
)
def test_registries_refuse_names_of_the_library_and_wrong_things(registry, name, thing, sentence):
    before = dict(registry)
    with pytest.raises(InputError, match=sentence):
        registry.register(name, thing)
    assert dict(registry) == before


def test_library_entries():
    assert samplers() == ["bss", "deepfool", "fgsm", "noise", "particles", "particles-released"]
    assert terms()[:5] == ["ce", "kd", "boundary_kd", "boundary_triplet", "triplet"]
    with pytest.raises(InputError, match="Unknown sampler 'bbs'; did you mean 'bss'"):
        Recipe(sampler="bbs")


@pytest.mark.parametrize(
    ("name", "extra"), [("bss", {"steps": 3}), ("deepfool", {"steps": 3}), ("fgsm", {}), ("noise", {})]
)
def test_a_sampler_is_its_pure_function_and_its_trajectory_keeps_the_iterates(name, extra):
    net, sampler = build("mlp-tiny", num_classes=3, shape=(2,), seed=1).eval(), samplers[name](**extra)
    x, target = torch.rand(5, 2, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0, 1])

    def random():
        return torch.Generator().manual_seed(4)

    drawn = {"generator": random()} if name == "noise" else {}
    expected = getattr(boundary, name)(net, x, target, keep_path=True, **extra, **drawn)
    found, kept = sampler(net, x, target, random()), sampler.trajectory(net, x, target, random())
    assert torch.equal(found.x, expected.x)
    assert found.path is None
    assert torch.equal(kept.path, expected.path)

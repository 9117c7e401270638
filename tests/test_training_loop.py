"""The loop: what it yields, what it leaves alone, and that draws and time are functions of (seed, epoch, batch)."""

from __future__ import annotations

import copy
import math
import shutil
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from PIL import Image
from recipes import POINTS, same

import amkd_viz.training.training as training_module
from amkd_viz.boundary import BSS
from amkd_viz.core.errors import InputError
from amkd_viz.data import load
from amkd_viz.models import build, save_classifier
from amkd_viz.objectives import ce, kd, methods
from amkd_viz.runs import Run, prepare, teacher_for
from amkd_viz.runs.prepare import OF_DATA, OF_TEACHER
from amkd_viz.training import (
    EpochEnded,
    Finished,
    Recipe,
    Started,
    Stepped,
    Training,
    accuracy,
    events,
    logits_on,
    scores,
)
from amkd_viz.training.loop import final_scores
from amkd_viz.training.schedule import learning_rate
from amkd_viz.training.stacked import train_stacked
from amkd_viz.training.teachers import cache_folder, teacher_recipe

DIGITS = POINTS.replace(
    dataset="digits",
    teacher="cnn-small",
    student="cnn-tiny",
    epochs=2,
    teacher_epochs=2,
    num_train=60,
    batch_size=20,
    teacher_batch_size=20,
    magsim_samples=10,
)


@pytest.fixture
def attacks(monkeypatch):
    """The number of samples in each attack of a training step."""
    seen, real = [], BSS.__call__

    def spy(self, model, x, target, generator):
        seen.append(len(x))
        return real(self, model, x, target, generator)

    monkeypatch.setattr(BSS, "__call__", spy)
    return seen


def weights(net) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def unchanged(net, before: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def trained(what: Recipe | Training) -> Training:
    training = what if isinstance(what, Training) else prepare(what)
    for _ in events(training):
        pass
    return training


# events


def test_events_tell_steps_epochs_and_their_metrics():
    seen = list(events(prepare(POINTS)))
    assert [type(e) for e in seen] == [Started, *[*[Stepped] * 3, EpochEnded] * 4, Finished]
    steps, ends = ([e for e in seen if isinstance(e, kind)] for kind in (Stepped, EpochEnded))
    assert [(e.epoch, e.batch, e.batches) for e in steps] == [(e, b, 3) for e in range(4) for b in range(3)]
    live = {"ce", "kd", "boundary_kd", "boundary_triplet"}
    assert [set(e.terms) for e in steps] == [live] * 6 + [{"ce", "kd"}] * 6
    assert all(value.ndim == 0 and not value.requires_grad for e in steps for value in e.terms.values())
    assert [e.boundary is not None for e in steps] == [True] * 6 + [False] * 6
    assert any(len(e.boundary.index) for e in steps[:6])
    assert all(len(e.boundary.samples) == len(e.boundary.index) <= 8 for e in steps[:6])

    assert [e.epoch for e in ends] == [1, 2, 3, 4]
    metrics = [e.metrics for e in ends]
    assert [set(m["terms"]) for m in metrics] == [live, live, {"ce", "kd"}, {"ce", "kd"}]
    for m, own in zip(metrics, (steps[0:3], steps[3:6], steps[6:9], steps[9:12]), strict=True):
        assert m["terms"]["ce"] == pytest.approx(sum(float(e.terms["ce"]) for e in own) / 3, rel=1e-5)
        assert m["images_per_s"] > 0
        assert {"val_accuracy", "val_agreement", "val_kl"} <= set(m)
        assert not any(key.startswith("test") for key in m)
    # e counts from 1: 4 -> 1 over E, and 2 -> 0 and 1 -> 0 at three quarters
    assert [m["weights"]["kd"] for m in metrics] == pytest.approx([3.25, 2.5, 1.75, 1])
    assert [m["weights"]["boundary_kd"] for m in metrics] == pytest.approx([4 / 3, 2 / 3, 0, 0])
    assert [m["weights"]["boundary_triplet"] for m in metrics] == pytest.approx([2 / 3, 1 / 3, 0, 0])


def test_validation_every_so_many_epochs_and_at_the_end():
    ends = [e for e in events(prepare(POINTS.replace(epochs=5, evaluate_every=2))) if isinstance(e, EpochEnded)]
    assert [e.epoch for e in ends if "val_accuracy" in e.metrics] == [2, 4, 5]


# the attack runs only when asked for


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ({"method": "ce"}, 0),
        ({"method": "kd"}, 0),
        ({"method": "triplet-kd"}, 0),
        ({"overrides": {"boundary_kd.scale": 0, "boundary_triplet.weight": 0}}, 0),
        ({"overrides": {"boundary_kd.weight": 1}}, 3),  # a constant weight keeps it going
    ],
)
def test_the_attack_runs_only_for_terms_on_boundary_samples(settings, count, attacks):
    trained(POINTS.replace(epochs=1, magsim_samples=0, **settings))
    assert len(attacks) == count


def test_the_attack_stops_at_three_quarters(attacks):
    per_epoch: list[int] = []
    for event in events(prepare(POINTS.replace(epochs=8, magsim_samples=0))):
        if isinstance(event, EpochEnded):
            per_epoch.append(len(attacks) - sum(per_epoch))
    assert per_epoch == [3, 3, 3, 3, 3, 0, 0, 0]  # epoch 6 of 8 has weight 0 already


# modes


def test_the_student_trains_in_train_mode_also_after_evaluations(monkeypatch):
    modes, seeds, real = [], [], training_module.Step

    def spy(**parts):
        seeds.append(parts["generator"].initial_seed())
        modes.append((all(m.training for m in parts["nets"]["student"].modules()), parts["nets"]["teacher"].training))
        return real(**parts)

    training = prepare(DIGITS)
    teacher = training.teacher
    as_it_was = weights(teacher)
    monkeypatch.setattr(training_module, "Step", spy)
    before = weights(training.student)["body.stage1.1.num_batches_tracked"]
    for _ in events(training):
        training.student.eval()  # whatever a listener does to it
    assert modes == [(True, False)] * 6
    assert len(set(seeds)) == 6  # each step draws anew
    after = weights(training.student)["body.stage1.1.num_batches_tracked"]
    assert before == 0
    assert after >= 6  # batch norms have seen every step
    assert unchanged(teacher, as_it_was)
    assert not any(m.training for m in teacher.modules())
    assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())


def test_evaluation_restores_every_flag():
    training = prepare(DIGITS)
    training.student.train()
    training.student.body.stage1[1].eval()
    modes = [m.training for m in training.student.modules()]
    grads = [p.requires_grad for p in training.student.parameters()]
    state = weights(training.student)
    found = training.evaluate("val")
    assert set(found) == {"val_accuracy", "val_agreement", "val_kl"}
    assert [m.training for m in training.student.modules()] == modes
    assert [p.requires_grad for p in training.student.parameters()] == grads
    final_scores(training)
    assert [m.training for m in training.student.modules()] == modes
    assert unchanged(training.student, state)
    assert True in modes
    assert False in modes


def test_scores_against_a_slow_loop():
    student, teacher = torch.randn(2, 30, 5, generator=torch.Generator().manual_seed(0)).double()
    y = torch.arange(30) % 5
    right = sum(int(student[i].argmax()) == int(y[i]) for i in range(30)) / 30
    agree = sum(int(student[i].argmax()) == int(teacher[i].argmax()) for i in range(30)) / 30
    kl = 0.0
    for i in range(30):
        p, q = teacher[i].softmax(0), student[i].softmax(0)
        kl += float((p * (p / q).log()).sum()) / 30
    assert scores(student, teacher, y) == pytest.approx({"accuracy": right, "agreement": agree, "kl": kl})


# seeding


FEATURES = {"boundary_triplet.embedding": "feature"}


def test_a_projector_starts_from_the_seed_and_is_trained():
    recipe = POINTS.replace(overrides={**FEATURES, "boundary_triplet.weight": 1})
    one, two = prepare(recipe), prepare(recipe)
    assert one.modules["boundary_triplet"].weight.shape == (16, 8)
    assert same(one.modules, two.modules)
    assert not same(one.modules, prepare(recipe.replace(seed=1)).modules)
    assert not same(one.modules, trained(two).modules)
    assert len(one.optimiser.param_groups) == 1  # one learning rate for the projector and the student
    inside = {id(p) for p in one.optimiser.param_groups[0]["params"]}
    assert inside == {id(p) for net in (one.student, one.modules) for p in net.parameters()}


@pytest.mark.parametrize(
    ("base", "changes"),
    [
        (POINTS.replace(method="ce", schedule="step"), {}),
        (POINTS.replace(method="triplet-kd"), {}),
        (POINTS, {}),
        (POINTS, {**FEATURES, "boundary_triplet.mining": "random", "boundary_triplet.weight": 1}),
        (DIGITS.replace(epochs=3), {}),
        (DIGITS.replace(epochs=3, method="amkd-calibrated", boundary_bn="joint"), {}),
    ],
    ids=["ce-step", "triplet-kd", "amkd", "amkd-features", "digits", "digits-joint"],
)
def test_going_on_from_a_state_equals_never_having_stopped(base, changes, tmp_path):
    recipe = base.replace(overrides=changes, magsim_samples=0)
    whole = trained(recipe)
    first = prepare(recipe)
    for event in events(first):
        if isinstance(event, EpochEnded) and event.epoch == 2:
            torch.save(first.state(), tmp_path / "state.pt")
            break
    second = prepare(recipe)
    second.restore(torch.load(tmp_path / "state.pt", weights_only=True))
    seen = [e.epoch for e in events(second) if isinstance(e, EpochEnded)]
    assert seen == list(range(3, recipe.epochs + 1))
    assert same(whole.student, second.student)
    assert same(whole.modules, second.modules)
    assert not same(whole.student, first.student)


# learning rate


def test_one_cycle():
    rates = [learning_rate("onecycle", 0.1, k, 1000, 10) for k in range(1001)]
    assert [rates[k] for k in (0, 150, 575, 1000)] == pytest.approx([0.004, 0.1, 0.05, 0], abs=1e-9)
    assert all(a < b for a, b in pairwise(rates[:151]))
    assert all(a > b for a, b in pairwise(rates[150:]))
    assert learning_rate("constant", 0.3, 990, 1000, 10) == 0.3


@pytest.mark.parametrize(
    ("epochs", "first", "second"),
    [(80, 40, 60), (81, 41, 61), (10, 5, 8), (5, 3, 4), (4, 2, 3), (3, 2, 3), (2, 2, 2), (1, None, None)],
)
def test_the_step_schedule_drops_where_the_published_code_does(epochs, first, second):
    """In epochs counted from 1; in the published code, E / 2 and 3 E / 4 for the multiples of 4."""
    rates = [learning_rate("step", 0.1, step, 7 * epochs, epochs) for step in range(7 * epochs)]
    drops = [0 if first is None else (e >= first) + (e >= second) for e in range(1, epochs + 1) for _ in range(7)]
    assert rates == [0.1 * 0.1**n for n in drops]


@pytest.mark.parametrize(
    ("schedule", "by_hand", "resumed", "drops"),
    [
        ("onecycle", {(1, 1): 0.01}, (), []),
        ("constant", {(1, 1): 0.01}, (), []),
        ("step", {}, (), [1, 2]),
        ("step", {(0, 1): 0.05, (1, 1): 0.001, (2, 2): 1.0}, (), [1, 2]),  # not at a drop
        ("step", {(1, 0): 1.0}, (), [1, 2]),  # tenfold up at a drop: the rate stays, the schedule drops
        ("step", {(1, 0): 0.01, (2, 0): 0.001}, (), [1, 2]),
        ("step", {}, ((1, 0), (1, 1), (2, 0)), [1, 2]),
        ("step", {}, ((1, "fork"), (2, "fork")), [1, 2]),
    ],
)
def test_momentum_starts_anew_at_the_drops_of_the_schedule_alone(schedule, by_hand, resumed, drops):
    recipe = POINTS.replace(schedule=schedule, method="ce")
    training, found, rates = prepare(recipe), [], []
    batches = list(training.loader.epoch(0))
    for epoch in range(4):
        for batch, (x, y, index) in enumerate(batches):
            fork = batch == 0 and (epoch, "fork") in resumed
            if fork or (epoch, batch) in resumed:
                state = copy.deepcopy(training.state())
                state = {name: state[name] for name in (("epoch", "student") if fork else state)}
                training = prepare(recipe, training)
                training.restore(state)
            if (epoch, batch) in by_hand:
                training.change({"learning_rate": by_hand[epoch, batch]})
            training.step(x, y, index)
            parameter = next(training.student.parameters())
            momentum = training.optimiser.state[parameter]["momentum_buffer"]
            gradient = parameter.grad + recipe.weight_decay * parameter.detach()
            fresh = torch.allclose(momentum, gradient, atol=1e-3 * float(gradient.norm()) + 1e-6)
            if fresh and (epoch, batch) != (0, 0):
                found.append((epoch, batch))
            rates.append(training.optimiser.param_groups[0]["lr"])
        training.end_epoch()
    assert found == [(epoch, 0) for epoch in drops]
    assert rates[0] == pytest.approx(0.004 if schedule == "onecycle" else 0.1)
    if schedule == "step" and not by_hand:
        assert rates == pytest.approx([0.1] * 3 + [0.01] * 3 + [0.001] * 6)


# precision


def test_bf16_runs_and_is_not_fp32():
    *_, finished = events(half := prepare(DIGITS.replace(precision="bf16")))
    assert math.isfinite(finished.summary["test_kl"])
    assert {p.dtype for p in half.student.parameters()} == {torch.float32}
    full = prepare(DIGITS)
    full.nets["teacher"] = half.teacher
    trained(full)
    assert not same(half.student, full.student)


# losses that run away


def test_a_single_step_that_is_not_finite_is_seen():
    training = prepare(POINTS.replace(method="ce"))
    usual = training.compute

    def compute(step):
        usual(step)
        if (training.epoch, training.batch) == (1, 1):
            step.terms["ce"] = step.terms["ce"] * float("nan")
        return step

    training.compute = compute
    with pytest.raises(InputError, match=r"not finite in epoch 2 \(\{'ce': nan\}\)"):
        trained(training)
    assert training.epoch == 1


# sharing, and teachers


def test_like_lends_data_and_teacher_only_where_recipes_name_the_same():
    one = prepare(POINTS)
    own = {"batch_size": 8, "learning_rate": 0.05}  # of the student: a sweep over them has one teacher
    two = prepare(POINTS.replace(method="kd", seed=3, epochs=9, num_train=None, **own), one)
    assert two.full is one.full
    assert two.teacher is one.teacher
    assert two.student is not one.student
    assert len(two.dataset.train) > len(one.dataset.train)
    for name, value in {
        "data_seed": 1,
        "teacher_batch_size": 8,
        "teacher_learning_rate": 0.05,
        "teacher_epochs": 2,
        "teacher": "mlp-tiny",
        "dataset": "spirals",
        "precision": "bf16",
        "augment": "none",
    }.items():
        other = prepare(POINTS.replace(**{name: value}), one)
        of_data = name in ("dataset", "root", "data_seed")  # the same data are the same object, whoever asks
        assert (other.full is one.full) == (not of_data), name
        assert other.teacher is not one.teacher, name
    alone = prepare(POINTS.replace(teacher="", method="ce"))
    assert alone.teacher is None
    lent = prepare(POINTS.replace(teacher="mlp-tiny", method="kd"), alone)  # only its data
    assert lent.teacher is not None
    assert lent.full is alone.full
    with pytest.raises(InputError, match="A term reads the net 'teacher', but this recipe has student; name it there"):
        prepare(POINTS.replace(teacher="", method="kd"))


def test_trainings_that_share_a_teacher_name_the_same_teacher():
    """Every field that tells teachers apart must also tell trainings apart that could share one."""
    for name in Recipe.__dataclass_fields__:
        if name in ("overrides", "method", "dataset", "root", "device", "peer"):
            continue
        old, allowed = getattr(POINTS, name), list(Recipe.__dataclass_fields__[name].metadata.get("choices", ["mlp"]))
        others = {bool: not old, str: allowed[-1], float: 0.5}
        changed = POINTS.replace(**{name: others.get(type(old), 9)})
        assert changed != POINTS
        if teacher_recipe(changed) != teacher_recipe(POINTS):
            assert name in OF_DATA + OF_TEACHER, name


def test_a_teacher_is_trained_once(tmp_path, monkeypatch):
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path))
    heard: list[str] = []
    one = teacher_for(POINTS, lambda event: heard.append(type(event).__name__))
    assert heard == ["Started", *(["Stepped"] * 56 + ["EpochEnded"]) * 5, "Finished"]  # 900 points, by 16
    (folder,) = (tmp_path / "teachers").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == [
        *("checkpoints", "config.json", "lock", "metrics.jsonl", "student.safetensors", "summary.json")  # no snapshots
    ]
    stamp = (folder / "student.safetensors").stat().st_mtime_ns
    two = teacher_for(POINTS.replace(method="kd", seed=4, epochs=2, num_train=None), heard.append)
    assert len(heard) == 2 + 57 * 5
    assert same(one, two)
    assert (folder / "student.safetensors").stat().st_mtime_ns == stamp
    assert not two.training
    assert not any(p.requires_grad for p in two.parameters())
    assert [p.name for p in (tmp_path / "teachers").iterdir()] == [folder.name]

    own = teacher_recipe(POINTS)
    assert (own.num_train, own.method, own.student, own.teacher) == (None, "ce", "mlp-small", "")
    assert Run.open(folder).recipe == own
    with pytest.raises(InputError, match="teacher must name a net, got ''"):
        Run.open(folder).teacher()
    test = load("blobs").test
    assert accuracy(logits_on(one, test), test.y) > 0.9

    teacher_for(POINTS.replace(teacher_epochs=1))
    assert len(list((tmp_path / "teachers").iterdir())) == 2
    assert not same(one, teacher_for(POINTS.replace(teacher_epochs=1)))


def test_a_cache_that_cannot_be_used_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path / "cache"))
    recipe, heard = POINTS.replace(teacher_epochs=1), []
    teacher_for(recipe)
    (folder,) = (tmp_path / "cache" / "teachers").iterdir()
    file = folder / "student.safetensors"
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(InputError, match=str(file)):
        prepare(recipe)
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(file))  # a file, no folder
    with pytest.raises(InputError, match=r"Cannot write .*teachers"):
        teacher_for(recipe, heard.append)
    assert heard == []
    monkeypatch.setenv("AMKD_VIZ_CACHE", "~/elsewhere")
    monkeypatch.setenv("HOME", "/somewhere")
    assert str(cache_folder()) == "/somewhere/elsewhere"
    monkeypatch.delenv("AMKD_VIZ_CACHE")
    assert str(cache_folder()) == "/somewhere/.cache/amkd_viz"


def test_a_folder_with_other_images_has_another_teacher(tmp_path, monkeypatch):
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path / "cache"))
    images = tmp_path / "pets"
    recipe = replace(POINTS, dataset=f"folder:{images}", teacher="cnn-tiny", student="cnn-tiny", teacher_epochs=1)

    def paint(*classes):
        for k, name in enumerate(classes):
            (images / name).mkdir(parents=True)
            for n in range(20):
                Image.new("RGB", (16, 16), (9 * n, 20 * len(name), 90 * k)).save(images / name / f"{n}.png")

    paint("cats", "dogs")
    one = teacher_for(recipe)
    assert teacher_for(recipe, None, load(recipe.dataset)).num_classes == 2
    assert len(list((tmp_path / "cache" / "teachers").iterdir())) == 1
    paint("birds")
    assert teacher_for(recipe).num_classes == 3
    moved = images.rename(tmp_path / "moved")
    shutil.rmtree(moved / "birds")
    assert same(teacher_for(recipe.replace(dataset=f"folder:{moved}")), one)
    assert len(list((tmp_path / "cache" / "teachers").iterdir())) == 3  # the same net, under its folder's other name
    names = []
    for place in ("one", "two"):  # a relative folder is known by its full path
        (tmp_path / place).mkdir()
        monkeypatch.chdir(tmp_path / place)
        names.append(teacher_recipe(recipe.replace(dataset="folder:images,size=9")))
    assert names[0].dataset == f"folder:{tmp_path / 'one' / 'images'},size=9"
    assert names[0].hash != names[1].hash


def test_overrides_that_only_together_make_no_sense_are_refused_at_once():
    training = prepare(POINTS.replace(method="kd", epochs=2))
    running = events(training)
    next(running)
    training.override(**{"ce.weight": 0})
    with pytest.raises(InputError, match="a term with a weight in every epoch"):
        training.override(**{"kd.weight": 0})
    training.override(**{"ce.weight": 1})
    training.override(**{"kd.weight": 0})
    list(running)
    assert training.recipe.overrides == {"ce.weight": 1.0, "kd.weight": 0.0}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epochs": 1}, "With epochs=1 the terms on boundary samples of amkd never have a weight"),
        ({"step_rule": "newton"}, "about 2.8 % of it is left after 10 and few samples cross"),
        ({"step_rule": "newton", "step_size": 1.05}, None),
        ({"step_rule": "newton", "method": "kd"}, None),
        ({}, None),
    ],
)
def test_settings_that_attack_nothing_are_noted(changes, words):
    notes = list(training_module.notes_on(Recipe(dataset="blobs", **changes), load("blobs")))
    assert len(notes) == (words is not None)
    assert all(words in note for note in notes)


def test_two_teachers(tmp_path):
    file = save_classifier(build("mlp-tiny", num_classes=4, shape=(2,), seed=5), tmp_path / "a+b.safetensors")
    recipe = POINTS.replace(teacher=f"{file}+mlp-small", magsim_samples=0)
    methods.register("two", lambda: ce() + kd() + kd(teacher="teacher2"))
    try:
        training = prepare(recipe.replace(method="two"))
        assert {name: net.architecture for name, net in training.nets.items()} == {
            "student": "mlp-tiny",
            "teacher": "mlp-tiny",
            "teacher2": "mlp-small",
        }
        assert training.teacher_weights.count("+") == 1
        assert all(note.endswith("validation samples correctly.") for note in training.notes)
        trained(training)
        other = prepare(recipe.replace(method="two", seed=3), training)
        assert all(other.nets[name] is training.nets[name] for name in ("teacher", "teacher2"))
        assert prepare(recipe.replace(method="kd")).notes[:1] == [
            "No term of kd reads the net 'teacher2': it is loaded and has no effect."
        ]
        with pytest.raises(
            InputError, match=r"^A term reads the net 'teacher2', but this recipe has student, teacher;"
        ):
            prepare(POINTS.replace(method="two"))
    finally:
        methods.forget("two")


def test_samples_that_no_full_batch_holds_are_told():
    notes = prepare(POINTS.replace(method="ce", num_train=100, batch_size=51)).notes
    assert any(note.startswith("Each epoch leaves out 49 of 100 training samples, others in each") for note in notes)
    assert not any("leaves out" in note for note in prepare(POINTS.replace(method="ce")).notes)


@pytest.mark.parametrize("method", ["kd", "amkd"])
def test_logits_of_a_teacher_that_are_cached_give_the_same_student(method: str) -> None:
    students, passes = [], []
    for cached in (0, "all"):
        training = prepare(POINTS.replace(method=method, augment="none", cache_teacher=cached))
        calls: list[int] = []
        training.teacher.body.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        for _ in events(training):
            pass
        students.append(training.student.state_dict())
        passes.append(len(calls))
    for name, value in students[0].items():
        assert torch.allclose(value, students[1][name], atol=1e-5)
    assert passes[0] - passes[1] == 4 * 3 - 1  # one pass over 48 samples in place of three batches an epoch


# students in one batch of nets


def test_stacked_students_are_those_of_single_trainings():
    methods = ("ce", "kd", "bss", "amkd", "amkd-two-sides", "amkd-pairs", "amkd-scheduled", "amkd-calibrated")
    recipes = [POINTS.replace(method=name, seed=seed, step_size="auto") for seed, name in enumerate(methods)]
    recipes += [recipes[3].replace(seed=9, data_seed=1, overrides={"kd.scale": 4}, boundary_kept=0.5)]
    recipes += [recipes[2].replace(seed=10, boundary_refined=4), recipes[2].replace(seed=11, boundary_bases="margin")]
    stack = [prepare(recipe) for recipe in recipes]
    train_stacked(stack)
    for recipe, training in zip(recipes, stack, strict=True):
        alone = prepare(recipe)
        for _ in events(alone):
            pass
        for a, b in zip(alone.student.parameters(), training.student.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
        assert training.epoch == recipe.epochs
        assert training.evaluate("test")["test_accuracy"] == alone.evaluate("test")["test_accuracy"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"cache_teacher": 2}, "Stacked students read all logits, but cache_teacher is 2"),
        ({"method": "amkd-student-negatives"}, "amkd-student-negatives needs more than a stacked step has"),
        ({"schedule": "step"}, "without the schedule 'step'"),
        ({"sampler": "noise"}, "need the sampler bss, got noise"),
        ({"epochs": 5}, "must have the same student, epochs"),
        ({"dataset": "digits", "teacher": "mlp", "student": "mlp-small"}, "trained on points"),
    ],
)
def test_students_that_cannot_be_stacked(changes, sentence):
    with pytest.raises(InputError, match=sentence):
        train_stacked([prepare(POINTS), prepare(POINTS.replace(**changes))])

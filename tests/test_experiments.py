"""Experiments: golden numbers of their formulas, and each one whole on data that trains in a moment."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from golden_cases import check, outputs, step_of, stored
from recipes import POINTS

from amkd_viz import experiments
from amkd_viz.core.errors import InputError
from amkd_viz.experiments.classes import correlations
from amkd_viz.experiments.hybrids import module_loss, swapped_stage
from amkd_viz.experiments.result import kendall
from amkd_viz.experiments.retrieval import mean_average_precision, ranked, recall_at
from amkd_viz.experiments.ridge import Ridge, best_weight
from amkd_viz.experiments.shrink import reward
from amkd_viz.experiments.students import head_gradient, multiply_adds, relation, semantic
from amkd_viz.models import build
from amkd_viz.objectives.zoo.relations import sp
from amkd_viz.runs import distill

TINY = POINTS.replace(method="hinton", magsim_samples=0, dataset="blobs:classes=4")
IMAGES = TINY.replace(
    dataset="digits", teacher="cnn-tiny", student="cnn-tiny", num_train=64, epochs=2, teacher_epochs=2
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return distill(IMAGES, tmp_path_factory.mktemp("runs") / "one")


def test_generations_of_a_ridge_are_those_of_the_published_demo():
    numbers = {k: v.numpy() for k, v in stored("seed2_borup").items()}
    ridge = Ridge(numbers["ridge_x"], numbers["ridge_y"], float(numbers["ridge_gamma"]), float(numbers["ridge_lambda"]))
    for weight in (0.0, 0.25, 0.35):
        made = ridge.generations(numbers["ridge_grid"], weight, 6)
        np.testing.assert_allclose(made, numbers[f"ridge_pred_alpha{weight}"], rtol=1e-9, atol=1e-12)
        limit = ridge.limit(numbers["ridge_grid"], weight)
        np.testing.assert_allclose(limit, numbers[f"ridge_limit_alpha{weight}"], rtol=1e-9, atol=1e-12)
        mse = np.square(made - np.sin(2 * np.pi * numbers["ridge_grid"])).mean(1)
        np.testing.assert_allclose(mse, numbers[f"ridge_mse_alpha{weight}"], rtol=1e-9)
    labels, taught = ridge.generations(ridge.x, 1.0, 1)[0], ridge.predict(ridge.predict(ridge.y, ridge.x), ridge.x)
    target = np.sin(2 * np.pi * ridge.x)
    grid = np.linspace(0, 1, 1001)
    losses = [np.square(a * labels + (1 - a) * taught - target).sum() for a in grid]
    assert best_weight(labels, taught, target) == pytest.approx(grid[int(np.argmin(losses))], abs=1e-3)
    assert best_weight(labels, labels, target) == 1.0
    made = experiments.ridge_generations(0.25, 4)
    assert made.view.arrays["predictions"].shape == (4, 101)
    with pytest.raises(InputError, match="label_weight must be in"):
        experiments.ridge_generations(1.5)


def test_scores_of_students_are_those_of_the_published_code():
    numbers = stored("seed2_diswot_scores")
    torch.testing.assert_close(
        semantic(numbers["fc_grad_s"], numbers["fc_grad_t"]), numbers["semantic_loss"], rtol=1e-9, atol=0
    )
    y, f, w = numbers["labels"], numbers["s_feat"], numbers["W_s"]
    torch.testing.assert_close(head_gradient(f @ w.T, f, y), numbers["fc_grad_s"], rtol=1e-9, atol=1e-12)
    assert multiply_adds(build("mlp-tiny", shape=(2,), num_classes=4)) == sum(
        p.numel() for p in build("mlp-tiny", shape=(2,), num_classes=4).parameters() if p.ndim == 2
    )
    net = build("resnet8", shape=(3, 32, 32), num_classes=10)
    assert (
        multiply_adds(net)
        == 32 * 32 * (3 * 16 + 2 * 16 * 16) * 9
        + 16 * 16 * (16 * 32 + 32 * 32) * 9
        + 8 * 8 * (32 * 64 + 64 * 64) * 9
        + 640
    )


def test_rewards_are_those_of_the_published_code():
    numbers = stored("seed2_n2n_reward")
    names = ("acc", "params", "teacher_acc", "teacher_params", "size_constraint", "epoch", "reward")
    rows = torch.stack([numbers[name] for name in names], 1).tolist()
    assert sum(0 < row[4] < row[1] for row in rows) > 10
    for *about, budget, epoch, expected in rows:
        number = max(0, int(epoch))  # -1: no rounds are counted
        assert reward(*about, budget=budget or None, number=number) == pytest.approx(expected, rel=1e-9)


def test_losses_of_modules_and_ranks_are_those_of_the_published_code():
    numbers = stored("seed2_m2mkd")
    for t in (1, 4):
        s = numbers["s_logits"].clone().requires_grad_()
        loss = module_loss(s, numbers["t_logits"], numbers["labels"], t)
        check(loss, {"s": s}, numbers[f"loss_T{t}"], {"s": numbers[f"grad_s_T{t}"]})
    numbers = stored("seed1_brcd")
    about = numbers["db_order"], numbers["query_labels"], numbers["db_labels"]
    assert mean_average_precision(*about, 25) == pytest.approx(float(numbers["map_at_25"]), rel=1e-9)
    assert recall_at(torch.tensor([[0, 1], [1, 0]]), torch.tensor([0, 0]), torch.tensor([0, 1]), 1) == 0.5
    query, gallery = (numbers[f"{n}_codes"] > 0 for n in ("query", "db"))
    apart = (query[:, None] != gallery[None]).sum(2)
    assert torch.equal(apart.gather(1, ranked(query, gallery)), apart.sort(1).values)


def test_tau_and_correlations_against_loops():
    a, b = [3, 1, 2, 2, 5], [1, 1, 4, 3, 9]
    pairs = [(np.sign(a[i] - a[j]), np.sign(b[i] - b[j])) for i in range(5) for j in range(i)]
    scale = sum(x * x for x, _ in pairs) * sum(y * y for _, y in pairs)
    assert kendall(a, b) == pytest.approx(sum(x * y for x, y in pairs) / scale**0.5)
    assert np.isnan(kendall([1, 1], [1, 2]))
    z = torch.randn(20, 3, dtype=torch.float64)
    np.testing.assert_allclose(correlations(z).numpy(), np.corrcoef(z.numpy().T))


def test_the_relation_is_that_of_sp():
    numbers = stored("zoo_sp")
    s, t = numbers["tap3_s"], numbers["tap3_t"]
    step = step_of(outputs(layers={-1: s}, count=len(s)), outputs(layers={-1: t}, count=len(s)))
    torch.testing.assert_close(relation(s, t), sp()(step))


def test_teachers_of_several_sizes(tmp_path):
    made = experiments.capacity_gap(TINY, ["mlp-tiny", "mlp-small"], tmp_path / "gap", seeds=2, jobs=1)
    assert set(made.runs) == {
        f"teacher{t}-student{TINY.student}-seed{k}" for t in ("mlp-tiny", "mlp-small") for k in (0, 1)
    }
    shares = made.view.arrays["mlp-tiny.accuracy"]
    means = [
        np.mean([r.summary["test_accuracy"] for n, r in made.runs.items() if f"teacher{t}-" in n])
        for t in ("mlp-tiny", "mlp-small")
    ]
    np.testing.assert_allclose(shares, means)
    assert (np.diff(made.view.arrays["mlp-tiny.x"]) > 0).all()
    again = experiments.capacity_gap(TINY, ["mlp-tiny", "mlp-small"], tmp_path / "gap", seeds=2, jobs=1, over="kl")
    assert again.runs.keys() == made.runs.keys()  # nothing is trained twice
    with pytest.raises(InputError, match="capacity_gap needs two teachers or more"):
        experiments.capacity_gap(TINY, ["mlp"], tmp_path / "one", jobs=1)


def test_a_student_is_the_next_teacher(tmp_path):
    made = experiments.generations(TINY.replace(student="mlp-small", learning_rate=1.0), 3, tmp_path / "g", jobs=1)
    assert list(made.runs) == ["generation0", "taught1", "generation1", "taught2", "generation2"]
    weights = made.view.arrays["weights"]
    assert weights[0] == 1
    assert ((weights >= 0) & (weights <= 1)).all()
    for name, weight in zip(("generation0", "generation1", "generation2"), weights, strict=True):
        assert made.runs[name].recipe.overrides["prob_mse.labels"] == weight
    last = made.runs["generation2"].recipe
    assert last.teacher == str(made.runs["generation1"].path / "student.safetensors")
    steps = experiments.assistants(TINY.replace(teacher="mlp"), ["mlp-small"], tmp_path / "takd", jobs=1)
    assert list(steps.runs) == ["direct", "mlp-small", "chain"]
    assert steps.runs["chain"].recipe.teacher == str(steps.runs["mlp-small"].path / "student.safetensors")
    assert steps.view.notes["chain"] == steps.runs["chain"].summary["test_accuracy"]


def test_a_smooth_teacher_and_a_plain_one(tmp_path):
    recipe = IMAGES.replace(method="hinton", teacher_epochs=10, num_train=None)
    made = experiments.steady_teacher(recipe, tmp_path / "steady", jobs=1)
    assert list(made.runs) == ["teacher.plain", "plain", "teacher.steady", "steady"]
    assert made.runs["teacher.steady"].recipe.method == "steady"
    assert made.runs["steady"].recipe.teacher == str(made.runs["teacher.steady"].path / "student.safetensors")
    assert made.view.notes["distance.steady"] > 0
    assert made.view.notes["distance.plain"] > 0
    np.testing.assert_allclose(made.view.arrays["student"], [made.view.notes[name] for name in ("plain", "steady")])


def test_classes_apart_and_one_after_another(tmp_path):
    made = experiments.class_parts(TINY, 2, tmp_path / "parts", jobs=1)
    assert made.runs["part1"].recipe.order == "part:2,3"
    assert made.view.notes["oracle"] >= made.view.notes["router"]
    assert made.view.notes["oracle"] > 0.5
    long = TINY.replace(epochs=8, schedule="constant")
    tasks = experiments.class_incremental(long, 2, tmp_path / "tasks", rows=("naive", "coconut"), jobs=1)
    assert tasks.runs["coconut"].recipe.order == "replay:2"
    assert len(tasks.view.arrays["naive"]) == 8
    assert tasks.view.notes["naive.last"] > tasks.view.notes["naive.first"]  # what is not shown again is forgotten
    with pytest.raises(InputError, match="parts must be between 2 and 4"):
        experiments.class_parts(TINY, 9, tmp_path / "many")


def test_views_are_ranked_and_a_privileged_teacher_sees_more(tmp_path):
    made = experiments.augmentations(IMAGES, tmp_path / "views", arms=("view2", "jda", "mixup"), jobs=1)
    assert made.view.arrays["deviation"].shape == (3,)
    assert (made.view.arrays["deviation"] > 0).all()
    assert -1 <= made.view.notes["tau"] <= 1
    one = made.runs["jda-seed0"]
    net, data = one.student().requires_grad_(True), one.dataset().train
    flat = torch.nn.utils.parameters_to_vector(net.parameters()).detach()

    def loss(at: torch.Tensor) -> torch.Tensor:
        torch.nn.utils.vector_to_parameters(at, net.parameters())
        return torch.nn.functional.cross_entropy(net(data.floats()), data.y)

    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss(flat), list(net.parameters()))])
    rise = loss(flat + 0.05 * gradient / gradient.norm()) - loss(flat)
    assert made.view.arrays["sharpness"][1] == pytest.approx(float(rise.detach()), rel=1e-3)
    rows = experiments.privileged_view(IMAGES, tmp_path / "poor", jobs=1)
    assert rows.runs["privileged-seed0"].recipe.student == "middle-of-cnn-tiny"
    assert rows.runs["privileged-seed0"].recipe.teacher == "cnn-tiny"
    x = torch.rand(2, 1, 8, 8)
    edge = x.clone()
    edge[..., 0], edge[..., -1, :] = 0, 0
    student = rows.runs["privileged-seed0"].student()
    torch.testing.assert_close(student(x), student(edge))  # the border is not seen


def test_students_are_scored_and_tried(tmp_path):
    names = ["mlp-tiny", "mlp-small", "mlp"]
    made = experiments.which_student(TINY.replace(epochs=1), names, tmp_path / "which", jobs=1)
    assert set(made.view.notes) == {f"tau.{s}" for s in ("relation", "semantic", "parameters", "multiply-adds")}
    expected = kendall(made.view.arrays["parameters"], [r.summary["test_accuracy"] for r in made.runs.values()])
    assert made.view.notes["tau.parameters"] == expected or np.isnan(expected)
    assert " nan" not in made.view.caption
    assert not experiments.which_student(TINY, names).runs
    tried = experiments.shrink(TINY.replace(teacher="mlp", epochs=1), names[:2], 4, tmp_path / "shrink", jobs=1)
    assert set(tried.runs) <= set(names[:2])
    assert tried.view.arrays["share"].sum() == pytest.approx(1)
    assert tried.view.notes["best"] in tried.runs
    free = tried.view.arrays["reward"]
    about = {"budget": 1, "jobs": 1}  # all are above it
    tight = experiments.shrink(TINY.replace(teacher="mlp", epochs=1), names[:2], 4, tmp_path / "shrink", **about)
    assert (tight.view.arrays["reward"][1:] < np.minimum(0, free.min())).all()


def test_what_one_run_shows(run):
    found = experiments.retrieval(run, ks=(1, 5))
    order = ranked(*(f.double() for f in _features(run)))
    expected = mean_average_precision(order, run.dataset().test.y, run.dataset().train.y, 5)
    assert found.view.arrays["teacher.map"][1] == pytest.approx(expected)
    matrix = experiments.class_correlations(run).view
    assert matrix.arrays["teacher"].shape == (10, 10)
    assert matrix.notes["distance"] == pytest.approx(
        np.abs(matrix.arrays["teacher"] - matrix.arrays["student"])[~np.eye(10, dtype=bool)].mean()
    )
    made = experiments.hybrids(run, epochs=1)
    assert made.view.arrays["swapped"].shape == made.view.arrays["trained"].shape
    same = swapped_stage(run.teacher(), run.teacher(), run.teacher().stages[0])
    x = run.dataset().test.floats(slice(0, 4))
    assert torch.equal(same.eval()(x), run.teacher().eval()(x))


def test_stages_of_other_widths_are_joined(tmp_path):
    recipe = IMAGES.replace(teacher="cnn-small", num_train=None, epochs=4, teacher_epochs=10, batch_size=64)
    run = distill(recipe, tmp_path / "narrow")
    made = experiments.hybrids(run, epochs=3).view
    assert (made.arrays["swapped"] > 0.15).all()  # ten classes; by least squares alone
    assert (made.arrays["trained"] > made.arrays["swapped"] + 0.1).all()
    assert made.notes["assembled"] > 0.2
    teacher, student, x = run.teacher(), run.student(), run.dataset().train.floats(slice(0, 64))
    part = swapped_stage(teacher, student, "stage2", x).body.stage2
    m, n = teacher.eval().outputs(x, [-2]).layers[-2], student.eval().outputs(x, [-2]).layers[-2]
    rows, wanted = (maps.movedim(1, 3).flatten(0, 2).detach().double() for maps in (m, n))
    rows = torch.cat([rows, torch.ones(len(rows), 1).double()], 1)
    best = (rows @ torch.linalg.lstsq(rows, wanted).solution - wanted).square().mean()
    found = (part.enter(m) - n).square().mean().detach()
    assert float(found) == pytest.approx(float(best), rel=1e-2)
    points = [build(name, shape=(2,), num_classes=3) for name in ("mlp-small", "mlp-tiny")]
    with pytest.raises(InputError, match=r"hybrids need"):
        swapped_stage(*points, points[0].stages[0])


def _features(run):
    teacher, data = run.teacher().eval(), run.dataset()
    with torch.no_grad():
        return teacher.outputs(data.test.floats()).features, teacher.outputs(data.train.floats()).features

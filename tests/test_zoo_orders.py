"""Which sample when, and updates with several momenta: golden numbers, counts, resume bit for bit."""

from __future__ import annotations

import pytest
import torch
from golden_cases import outputs, step_of, stored
from recipes import POINTS, same
from small_nets import gen

from amkd_viz.core.errors import InputError
from amkd_viz.objectives import ce, kd
from amkd_viz.objectives.zoo.logits import dkd, nckd, tckd
from amkd_viz.objectives.zoo.replay import contrast, replayed
from amkd_viz.runs.prepare import prepare
from amkd_viz.training import Recipe
from amkd_viz.training.orders import class_order, class_scores
from amkd_viz.training.update import UPDATES, SplitSGD

FIVE = POINTS.replace(dataset="blobs:classes=5", num_train=100, batch_size=20, epochs=10, magsim_samples=0)


@pytest.fixture(scope="module")
def like():
    return prepare(FIVE)


def rows(recipe: Recipe, like, epoch: int) -> torch.Tensor:
    training = prepare(recipe, like)
    training.epoch = epoch
    return torch.cat([index for _, _, index in training.batches()])


def test_scores_of_class_orders_are_those_of_the_published_code():
    numbers = stored("seed2_curriculum")
    found = class_scores(numbers["distance"], numbers["orders"])
    torch.testing.assert_close(found, numbers["score"], rtol=1e-9, atol=1e-12)
    assert torch.equal(class_order(numbers["class_means"]), numbers["orders"][numbers["score"].argmax()])


@pytest.mark.parametrize("order", ["margins", "classes"])
def test_a_curriculum_opens_until_two_fifths_of_the_training(order, like):
    recipe = FIVE.replace(order=order)
    seen = [rows(recipe, like, epoch) for epoch in range(5)]
    assert [len(s) for s in seen] == [100] * 5
    assert [len(s.unique()) for s in seen] == [25, 50, 75, 100, 100]
    y, known = like.dataset.train.y, like.known("teacher")[0].logits
    if order == "classes":
        assert [int(y[s].unique().numel()) for s in seen] == [2, 3, 4, 5, 5]
    else:
        lead = known.gather(1, y[:, None])[:, 0] - known.scatter(1, y[:, None], -torch.inf).amax(1)
        assert torch.equal(seen[0].unique(), lead.argsort(descending=True, stable=True)[:25].sort().values)
    assert torch.equal(seen[1], rows(recipe, like, 1))


def test_hard_samples_come_back_and_leave_again(like):
    training = prepare(FIVE.replace(order="hard", method="kd"), like)
    for epoch in range(7):
        before = training.order.hardness.clone()
        batches = list(training.batches())
        pool = training.order.pool
        if epoch:
            assert len(pool) == 5
            assert all(bool(torch.isin(index[:2], pool).all()) for _, _, index in batches)
            free = before.masked_fill(training.order.visits - torch.isin(torch.arange(100), pool).long() >= 5, -1)
            assert torch.equal(free.topk(5).indices, pool)
        for batch in batches:
            step = training.step(*batch)
        training.end_epoch()
        p, q = (step.outputs(net).logits.detach().softmax(1) for net in ("teacher", "student"))
        torch.testing.assert_close(training.order.hardness[step.clean.index], (p - q).abs().sum(1))
    assert int(training.order.visits.max()) <= 5


def test_tasks_show_their_classes_and_a_buffer(like):
    y = like.dataset.train.y
    for epoch, classes in ((0, {0, 1}), (4, {2, 3}), (6, {2, 3}), (9, {4})):
        seen = rows(FIVE.replace(order="tasks:3"), like, epoch)
        assert set(y[seen].tolist()) == classes
        again = rows(FIVE.replace(order="replay:3"), like, epoch)
        old = y[again] < min(classes)
        assert len(again) == 100
        assert int(old.sum()) == (50 if min(classes) else 0)
        assert len(again[old].unique()) == min(1, min(classes))  # 1 % of 100 samples
    assert set(y[rows(FIVE.replace(order="part:1,4"), like, 3)].tolist()) == {1, 4}


def test_a_wrong_order_is_refused_in_one_sentence():
    for order, sentence in (
        ("hardest", "Unknown order 'hardest'; did you mean 'hard'"),
        ("tasks:1", "order must give a number of tasks from 2 on, as tasks:5 and replay:5 do, got '1'"),
        ("part:a", "order must name classes by number, as part:0,1,2 does, got part:a"),
        ("hard:3", "order takes nothing after the colon here, got '3'"),
    ):
        with pytest.raises(InputError, match=sentence):
            FIVE.replace(order=order)
    with pytest.raises(InputError, match="order must not be hard without a teacher"):
        FIVE.replace(order="hard", teacher="", method="ce")


CHANGES = (
    {"order": "hard"},
    {"order": "replay:3", "method": "coconut"},
    {"update": "dot"},
    {"update": "mjkd"},
    {"update": "deepkd", "method": "deepkd"},
)


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_a_state_goes_on_bit_for_bit_within_an_epoch(changes, like, tmp_path):
    recipe = FIVE.replace(**({"method": "kd", "epochs": 6} | changes))
    training, again = prepare(recipe, like), prepare(recipe, like)

    def train(one, steps):
        for _ in range(steps):
            training_batches = one.batches()
            one.step(*next(training_batches))
            if one.batch == len(one.loader):
                one.end_epoch()

    train(training, 13)
    torch.save(training.state(), tmp_path / "state.pt")
    again.restore(torch.load(tmp_path / "state.pt", weights_only=True))
    train(training, 11)
    train(again, 11)
    assert all(same(net, again.nets[name]) for name, net in training.nets.items())
    assert training.student(like.dataset.test.x).isfinite().all()


def test_dot_is_that_of_the_published_code():
    numbers = stored("seed1_dot")
    p, q = numbers["p0"].clone(), numbers["q0"].clone()
    optimiser = SplitSGD([p, q], UPDATES["dot"], float(numbers["lr"]), 0.9, float(numbers["weight_decay"]))
    for i in range(5):
        task = (numbers["grad_task_p"][i], numbers["grad_task_q"][i])
        optimiser.gradients = {"task": task, "kd": (numbers["grad_kd_p"][i], None)}
        optimiser.step()
        torch.testing.assert_close(p, numbers["p_after"][i], rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(q, numbers["q_after"][i], rtol=1e-9, atol=1e-12)


def test_deepkd_is_that_of_the_released_code():
    numbers = stored("seed1_deepkd")
    p = numbers["p0"].clone()
    optimiser = SplitSGD([p], UPDATES["deepkd"], float(numbers["lr"]), 0.9, float(numbers["weight_decay"]))
    for i in range(5):
        parts = {"task": "task", "target": "tckd", "others": "nckd"}
        optimiser.gradients = {name: (numbers[f"grad_{theirs}"][i],) for name, theirs in parts.items()}
        optimiser.step()
        torch.testing.assert_close(p, numbers["p_after"][i], rtol=1e-9, atol=1e-12)


def test_gradients_of_groups_are_those_of_their_terms(like):
    training = prepare(FIVE.replace(update="dot", method="kd"), like)
    training.compute(training.new_step(*next(training.batches())))
    made = training.optimiser.gradients
    assert set(made) == {"task", "kd"}
    whole = prepare(FIVE.replace(method="kd"), like)
    whole.compute(whole.new_step(*next(whole.batches())))
    for p, a, b in zip(whole.parameters, made["task"], made["kd"], strict=True):
        torch.testing.assert_close(p.grad, a + b, rtol=1e-4, atol=1e-6)


def test_both_parts_of_dkd_are_dkd():
    s, t = 2 * torch.randn(2, 6, 5, generator=gen(), dtype=torch.float64)
    y = torch.arange(6) % 5
    torch.testing.assert_close(tckd().rows(s, t, y) + nckd().rows(s, t, y), dkd().rows(s, t, y))
    assert (tckd.group, nckd.group, kd.group, ce.group) == ("target", "others", "logit", "task")


def test_contrast_with_an_old_self_against_a_loop():
    f, g = torch.randn(2, 6, 4, generator=gen(), dtype=torch.float64)
    y = torch.tensor([0, 0, 1, 2, 2, 1])
    earlier = torch.tensor([True, True, False])
    again = earlier[y]
    h, o = (x / x.norm(dim=1, keepdim=True) for x in (f, g))
    total = 0.0
    for i in again.nonzero()[:, 0]:
        own = [p for p in again.nonzero()[:, 0] if y[p] == y[i]]
        others = sum(((h[i] @ h[j]) / 0.1).exp() for j in range(6) if j != i)
        for p in own:
            top = ((h[i] @ o[p]) / 0.1).exp()
            total -= float((top / (top + others)).log()) / len(own)
    torch.testing.assert_close(float(contrast(f, g, y, again, 0.1)), total / 4)
    assert float(contrast(f, g, y, again & False, 0.1)) == 0
    step = step_of(outputs(f), outputs(g), y)
    step.nets, step._outputs["old", "clean"] = {**step.nets, "old": None}, outputs(f)
    assert not replayed()(step).any()
    step.earlier, step.factors = earlier, {}
    torch.testing.assert_close(replayed()(step), again.double() / again.double().mean())

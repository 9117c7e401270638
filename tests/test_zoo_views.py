"""Views and the losses on them: Pillow's operations, golden numbers, slow loops, known shifts."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from golden_cases import check, outputs, step_of, stored, total
from PIL import Image, ImageEnhance, ImageOps
from small_nets import gen
from torch import Tensor

from amkd_viz.core.errors import InputError
from amkd_viz.data import Augment, Loader, Split
from amkd_viz.data.jda import CIFAR10, CIFAR100, OPERATIONS, jda
from amkd_viz.models import build
from amkd_viz.objectives import Batch, Step, ce, confusion, kd, methods, rest
from amkd_viz.objectives.sources import views
from amkd_viz.objectives.zoo.mixes import mixed_ce, pasted
from amkd_viz.objectives.zoo.per_sample import Confusions
from amkd_viz.objectives.zoo.poorer import (
    Directions,
    Guess,
    balanced,
    latents,
    privileged,
    smoothed,
    states,
    steady,
)
from amkd_viz.objectives.zoo.twin import LastBatch, agree, cross_affinity, dlb, motion
from amkd_viz.runs.prepare import prepare
from amkd_viz.training import Recipe


def images(n: int = 3, side: int = 20) -> torch.Tensor:
    """Smooth colours, so that an operation that moves pixels by less than one changes little."""
    small = torch.randint(256, (n, 3, 5, 5), generator=gen(), dtype=torch.float32)
    return F.interpolate(small, side, mode="bilinear").round().to(torch.uint8)


def pillow(x: torch.Tensor, work: object) -> torch.Tensor:
    made = [work(Image.fromarray(one.permute(1, 2, 0).numpy())) for one in x]
    return torch.stack([torch.tensor(list(one.tobytes())).reshape(one.height, one.width, 3) for one in made]).permute(
        0, 3, 1, 2
    )


def affine(image: Image.Image, numbers: tuple[float, ...], how: Image.Resampling = Image.Resampling.NEAREST) -> Image:
    return image.transform(image.size, Image.Transform.AFFINE, numbers, how, fillcolor=(128,) * 3)


@pytest.mark.parametrize(
    ("name", "level", "work"),
    [
        ("invert", 0, ImageOps.invert),
        ("posterize", 8, lambda im: ImageOps.posterize(im, 4)),
        ("solarize", 2, lambda im: ImageOps.solarize(im, 256 - 2 * 256 / 9)),
        ("autocontrast", 0, ImageOps.autocontrast),
        ("equalize", 0, ImageOps.equalize),
        ("colour", 3, lambda im: ImageEnhance.Color(im).enhance(1.3)),
        ("contrast", 7, lambda im: ImageEnhance.Contrast(im).enhance(1.7)),
        ("brightness", 6, lambda im: ImageEnhance.Brightness(im).enhance(1.6)),
        ("sharpness", 9, lambda im: ImageEnhance.Sharpness(im).enhance(1.9)),
        ("translate_x", 4, lambda im: affine(im, (1, 0, 4, 0, 1, 0))),
        ("translate_y", 4, lambda im: affine(im, (1, 0, 0, 0, 1, 4))),
    ],
)
def test_an_operation_is_that_of_pillow(name, level, work):
    x = images()
    found = OPERATIONS[name](x.float(), torch.ones(len(x), 1, 1, 1), level)
    apart = (found - pillow(x, work)).abs()
    assert apart.max() <= 1  # roundings
    assert apart.mean() < 0.35
    assert (found - x).abs().mean() > 1


@pytest.mark.parametrize(
    ("name", "level", "work"),
    [
        ("shear_x", 8, lambda im: affine(im, (1, 0.8 / 3, 0, 0, 1, 0), Image.Resampling.BILINEAR)),
        ("shear_y", 8, lambda im: affine(im, (1, 0, 0, 0.8 / 3, 1, 0), Image.Resampling.BILINEAR)),
        ("rotate", 9, lambda im: im.rotate(30, Image.Resampling.BILINEAR, fillcolor=(128,) * 3)),
    ],
)
def test_an_operation_moves_places_as_pillow_does(name, level, work):
    x = images()
    apart = (OPERATIONS[name](x.float(), torch.ones(len(x), 1, 1, 1), level) - pillow(x, work)).abs()
    assert apart.median() <= 1
    assert apart.mean() < 8  # Pillow is grey where a neighbour is missing


def test_jda_is_drawn_per_image_and_keeps_the_form():
    x = images(64, 16)
    made = jda(x, gen(), CIFAR10)
    assert (made.shape, made.dtype) == (x.shape, torch.uint8)
    assert torch.equal(made, jda(x, gen(), CIFAR10))
    assert torch.equal(jda(x, gen(), (0.0, CIFAR10[1])), x)
    same = (made == x).flatten(1).all(1).float().mean()
    assert same < 0.05
    assert {word.partition(":")[0] for word in (CIFAR10[1] + " " + CIFAR100[1]).split()} == set(OPERATIONS)
    assert len(CIFAR10[1].split()) == len(CIFAR100[1].split()) == 14
    digits = torch.randint(256, (5, 1, 8, 8), generator=gen(), dtype=torch.uint8)
    assert jda(digits, gen(), CIFAR100).shape == digits.shape


def step_on(view: str, side: int = 16, n: int = 4, flip: bool = False) -> tuple[Step, Batch]:
    x, y = images(n, side), torch.arange(n)
    loader = Loader(Split(x, y, torch.arange(n)), n, augment=Augment(0, flip))
    batch = Batch(x.float() / 255, y, torch.arange(n))
    step = Step({"student": build("cnn-tiny", shape=(3, side, side), num_classes=n)}, batch, 1.0, gen())  # type: ignore[dict-item]
    step.sources = {name: kind(loader) for name, kind in views.items()}
    return step, step.batch(view)


@pytest.mark.parametrize("flip", [False, True])
def test_the_shift_of_a_twin_is_known(flip):
    step, twin = step_on("shifted", flip=flip, n=32)
    from amkd_viz.objectives.zoo.twin import warped

    back, overlap = warped(twin.x, twin.warp), warped(torch.ones_like(twin.x), twin.warp)
    torch.testing.assert_close(back, step.clean.x * overlap, atol=1e-4, rtol=0)
    assert 0.6 < float(overlap.mean()) < 1
    assert (twin.x - step.clean.x).abs().mean() > 0.01


def test_cross_affinity_is_the_true_cosine():
    numbers = stored("seed1_affinity")
    s1, s2 = (numbers[f"student_{i}"].requires_grad_() for i in (1, 2))
    layers = [{-2: m} for m in (s1, s2, numbers["teacher_1"], numbers["teacher_2"])]
    made = [outputs(layers=one, count=4) for one in layers]
    step = step_of(made[0], made[2], shifted=(made[1], made[3]))
    grads = {"a": numbers["cross_true_cosine_grad_1"], "b": numbers["cross_true_cosine_grad_2"]}
    check(total(cross_affinity(), step), {"a": s1, "b": s2}, numbers["cross_true_cosine"], grads)


def test_motion_is_0_where_the_map_follows_the_shift():
    step, twin = step_on("shifted")
    s, moved = step.clean.x.double().requires_grad_(), twin.x.double()
    step._outputs |= {
        ("student", "clean"): outputs(layers={-2: s}, count=4),
        ("student", "shifted"): outputs(layers={-2: moved}, count=4),
    }
    assert float(motion()(step).detach().max()) < 1e-6
    step._outputs["student", "shifted"] = outputs(layers={-2: moved + 1}, count=4)
    assert float(motion()(step).detach().min()) > 0.5


def test_agreement_is_symmetric_and_both_sides_learn():
    a, b = (2 * torch.randn(2, 6, 5, generator=gen(), dtype=torch.float64)).unbind()
    a.requires_grad_(), b.requires_grad_()
    loss = agree()(step_of(outputs(a), outputs(b), view2=(outputs(b), outputs(a))))
    p, q = a.softmax(1), b.softmax(1)
    apart = ((p - q) * (p / q).log()).detach()
    expected = [0.5 * sum(float(apart[i, k]) for k in range(5)) for i in range(6)]
    torch.testing.assert_close(loss.detach(), torch.tensor(expected, dtype=torch.float64))
    loss.sum().backward()
    assert a.grad.abs().sum() > 0
    assert b.grad.abs().sum() > 0


def test_dlb_asks_for_the_predictions_of_the_step_before():
    z = 2 * torch.randn(3, 6, 5, generator=gen(), dtype=torch.float64)
    kept = LastBatch(6, 5).double()
    modules = {"dlb": kept}
    first = dlb(temperature=2)(step_of(outputs(z[0]), outputs(z[0]), modules=modules, last=(outputs(z[1]), None)))
    torch.testing.assert_close(first, _kl(z[0], z[1], 2))  # in the first step the clean batch itself
    later = dlb(temperature=2)(step_of(outputs(z[2]), outputs(z[2]), modules=modules, last=(outputs(z[1]), None)))
    torch.testing.assert_close(later, _kl(z[0], z[1], 2))
    torch.testing.assert_close(kept.logits, z[2])


def _kl(t: torch.Tensor, s: torch.Tensor, at: float) -> torch.Tensor:
    p = (t / at).softmax(1)
    return at**2 * (p * (p.log() - (s / at).log_softmax(1))).sum(1)


def test_images_are_asked_for_before_a_teacher_is_trained(tmp_path, monkeypatch):
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path))
    points = Recipe(dataset="blobs", teacher="mlp-tiny", student="mlp-tiny", method="ccd", device="cpu")
    with pytest.raises(InputError, match="ccd needs images for its batch jda, but blobs has points"):
        prepare(points)
    assert list(tmp_path.iterdir()) == []


def test_one_confusion_matrix_moves_once_in_a_step():
    s, t = 2 * torch.randn(2, 8, 4, generator=gen())
    y = torch.arange(8) % 4
    once, both = Confusions(4), Confusions(4)
    weight = confusion(of="teacher")
    for matrix, sum_ in ((once, kd() * weight), (both, kd() * weight + ce() * rest(weight))):
        for _ in range(2):
            step = step_of(outputs(s), outputs(t), y, modules={repr(weight): matrix})
            step.progress = 0.1
            total(sum_, step)
            s, t = t, s
    assert torch.equal(once.rows, both.rows)


def test_methods_on_two_views_have_their_batches():
    assert {name: methods[name]().batches() for name in ("ccd", "r-drop", "dlb", "stc")} == {
        "ccd": {"clean", "jda"},
        "r-drop": {"clean", "view2"},
        "dlb": {"clean", "last"},
        "stc": {"clean", "shifted"},
    }


@pytest.mark.parametrize("view", ["mixup", "cutmix", "paste", "confused"])
def test_a_mixture_is_made_of_two_samples_by_its_share(view):
    matrix = Confusions(16)
    matrix.rows.copy_(torch.rand(16, 16, generator=gen()).softmax(1))
    step, mixed = step_on("mixup", n=16)
    step.modules["confusion"] = matrix
    mixed = step.batch(view)
    own, other = step.clean.x, step.clean.x[mixed.other]
    if view in ("mixup", "confused"):
        share = mixed.share[:, None, None, None]
        torch.testing.assert_close(mixed.x, share * own + (1 - share) * other)
    else:
        kept = ((mixed.x - own).abs() < 1e-6).all(1).float().flatten(1).mean(1)
        pasted_ = ((mixed.x - other).abs() < 1e-6).all(1).float().flatten(1).mean(1)
        assert ((kept >= mixed.share - 1e-6) & (pasted_ >= 1 - mixed.share - 1e-6)).all()
    if view == "paste":
        assert torch.allclose(mixed.share[::2], torch.tensor(1 - (11 / 16) ** 2))  # 2/3 of 16 pixels are 11
        assert torch.allclose(mixed.share[1::2], torch.tensor((11 / 16) ** 2))
    if view == "confused":
        touched = mixed.share < 1
        assert 0 < int(touched.sum()) < 16
        weaker = matrix.rows.diagonal()[step.clean.y] < matrix.rows.diagonal()[step.clean.y[mixed.other]]
        assert ((mixed.share >= 0.5) == weaker)[touched].all()


def test_mixtures_are_picked_by_the_entropy_of_the_teacher():
    teacher = build("cnn-tiny", shape=(3, 16, 16), num_classes=12, seed=3).eval()
    made = []
    for view in ("cutmix-pick", "cutmix"):
        step, _ = step_on("poor", n=12)
        step.nets = {**step.nets, "teacher": teacher}
        made.append(step.batch(view))
        if view == "cutmix":  # the two draws of the same generator
            made.append(step.sources["cutmix"](step))
    picked, *both = made
    x, rows = torch.cat([one.x for one in both]), [*range(12)] * 2
    p = teacher(x).softmax(1).detach()
    entropy = [-sum(float(v) * math.log(float(v)) for v in row) for row in p]
    kept = sorted(range(24), key=lambda i: -entropy[i])[:12]
    assert torch.equal(picked.x, x[kept])
    assert picked.rows.tolist() == picked.y.tolist() == [rows[i] for i in kept]
    torch.testing.assert_close(picked.other, torch.cat([one.other for one in both])[kept])
    torch.testing.assert_close(picked.share, torch.cat([one.share for one in both])[kept])


def test_labels_of_a_mixture_count_by_their_shares():
    step, mixed = step_on("mixup", n=5)
    z = torch.randn(5, 5, generator=gen(), dtype=torch.float64)
    step._outputs["student", "mixup"] = outputs(z)
    log_q, y = z.log_softmax(1), step.clean.y
    expected = [
        -float(mixed.share[i] * log_q[i, y[i]] + (1 - mixed.share[i]) * log_q[i, y[mixed.other[i]]]) for i in range(5)
    ]
    torch.testing.assert_close(mixed_ce()(step), torch.tensor(expected, dtype=torch.float64))
    step.batch("view2")
    with pytest.raises(InputError, match="must mix two samples, as mixup, cutmix, paste and confused do, got 'view2'"):
        mixed_ce(on="view2")(step)


def test_a_pasted_image_is_judged_whole():
    step, mixed = step_on("paste", n=5)
    s, t = torch.randn(2, 5, 5, generator=gen(), dtype=torch.float64).unbind()
    step.nets = {**step.nets, "teacher": None}
    step._outputs |= {("student", "paste"): outputs(s), ("teacher", "clean"): outputs(t)}
    expected = F.cross_entropy(s, step.clean.y, reduction="none") + 0.5 * _kl(t[mixed.other], s, 2)
    torch.testing.assert_close(pasted(teacher="teacher", temperature=2)(step), expected)


def test_a_poorer_view_is_the_middle_and_a_hidden_one_has_blocks():
    step, poor = step_on("poor", side=32)
    x = step.clean.x
    torch.testing.assert_close(
        poor.x, F.interpolate(x[:, :, 6:26, 6:26], (32, 32), mode="bilinear", antialias=True), rtol=0, atol=1e-6
    )
    step, hidden = step_on("hidden", n=32)
    assert torch.equal(hidden.x, step.clean.x * (1 - hidden.hidden))
    share = hidden.hidden.flatten(1).mean(1)
    assert ((share >= 0.25) & (share <= 0.5)).all()
    assert share.unique().numel() > 3


def test_losses_across_views():
    s, t = torch.randn(2, 4, 5, generator=gen(), dtype=torch.float64).unbind()
    step, _ = step_on("poor")
    step.nets = {**step.nets, "teacher": None}
    step._outputs |= {("student", "poor"): outputs(s), ("teacher", "clean"): outputs(t)}
    p = (t / 4).softmax(1)
    torch.testing.assert_close(privileged()(step), -16 * (p * (s / 4).log_softmax(1)).sum(1))
    noisy = step.batch("noisy")
    assert noisy.x.shape[0] == 16
    assert float((noisy.x - step.clean.x[noisy.rows]).std()) == pytest.approx(0.05, abs=0.01)  # clamped at 0 and 1
    four = torch.randn(16, 5, generator=gen(1), dtype=torch.float64)
    step._outputs |= {("student", "clean"): outputs(s), ("teacher", "noisy"): outputs(four)}
    p = (sum(four[4 * i : 4 * i + 4] for i in range(4)) / 16).softmax(1)
    torch.testing.assert_close(smoothed()(step), -16 * (p * (s / 4).log_softmax(1)).sum(1))
    s.requires_grad_(), four.requires_grad_()
    step._outputs["student", "noisy"] = outputs(four)
    q, near, apart = s.detach().softmax(1), four.detach().softmax(1), steady()(step)
    expected = [float((q[i % 4] * (q[i % 4] / near[i]).log()).sum()) for i in range(16)]
    torch.testing.assert_close(apart.detach(), torch.tensor(expected, dtype=torch.float64))
    apart.sum().backward()
    assert s.grad is None  # the sample's own prediction is a target


def test_states_are_filled_alike_and_guessed_from_the_middle():
    f, g = torch.randn(6, 3, generator=gen()).double(), torch.randn(6, 4, generator=gen(1)).double()
    made = Directions(3, 4, 5).double()

    def cosines(rows: Tensor) -> list[list[float]]:
        centred = [row - rows.mean(0) for row in rows]
        return [[float(row @ d / row.norm()) for d in made.fixed] for row in centred]

    shares = [[math.exp(c / 0.05) for c in row] for row in cosines(g)]
    for _ in range(3):
        filled = [sum(row[k] for row in shares) for k in range(5)]
        shares = [[x / z for x, z in zip(row, filled, strict=True)] for row in shares]
        shares = [[x / sum(row) for x in row] for row in shares]
    torch.testing.assert_close(balanced(made(g) / 0.05), torch.tensor(shares, dtype=torch.float64))
    many = balanced(torch.randn(500, 5, generator=gen(2)) / 0.05, rounds=100)
    torch.testing.assert_close(many.sum(0), torch.full((5,), 100.0), rtol=1e-2, atol=0)
    guesses = [[c / 0.1 for c in row] for row in cosines(made.head(f).detach())]
    log_z = [math.log(sum(map(math.exp, row))) for row in guesses]
    rows = zip(shares, guesses, log_z, strict=True)
    expected = [-sum(a * (c - z) for a, c in zip(p, row, strict=True)) for p, row, z in rows]
    step, _ = step_on("poor", n=6)
    step.nets = {**step.nets, "teacher": None}
    step.modules["states"] = made
    step._outputs |= {("student", "poor"): outputs(features=f), ("teacher", "clean"): outputs(features=g)}
    torch.testing.assert_close(states()(step).detach(), torch.tensor(expected, dtype=torch.float64))


def test_hidden_maps_count_only_where_they_are_hidden():
    step, hidden = step_on("hidden", side=8)
    m, n = torch.randn(2, 4, 3, 4, 4, generator=gen()).unbind()
    step.nets = {**step.nets, "teacher": None}
    step._outputs |= {
        ("student", "hidden"): outputs(torch.zeros(4, 5), layers={-2: m}),
        ("teacher", "clean"): outputs(torch.zeros(4, 5), layers={-2: n}),
    }
    step.modules["latents"] = part = Guess(3, 3)
    there = F.avg_pool2d(hidden.hidden, 2)
    guess, expected = part(m, there), []
    for i in range(4):
        sums = sum(float(there[i, 0, a, b] * (guess - n)[i, :, a, b].abs().mean()) for a in range(4) for b in range(4))
        expected.append(sums / float(there[i].sum()))
    torch.testing.assert_close(latents()(step).detach(), torch.tensor(expected))

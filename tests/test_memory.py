"""200 classes of 64 x 64 in 2 GB: one process trains, draws and reports, another one opens the panels."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("PIL")
pytest.importorskip("anywidget")
if not Path("/proc/self/status").exists():
    pytest.skip("needs Linux's /proc", allow_module_level=True)

from PIL import Image

CLASSES, EACH = 200, 6
LIMIT = 2 * 2**30  # bytes

START = """
import re, torch
from amkd_viz import Recipe, Run, distill
from amkd_viz.panels import DistillLab, EmbeddingLab, SampleLab
from amkd_viz.views import plane_map
from amkd_viz.views.report import write_report

def say(what):
    peak = re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())  # ru_maxrss is that of the parent too
    print(what, 1024 * int(peak[1]), flush=True)

torch.set_num_threads(2)
"""
WORK = """
recipe = Recipe(
    dataset="folder:many", teacher="resnet8", student="resnet8", method="amkd", epochs=1, teacher_epochs=1,
    batch_size=64, teacher_batch_size=64, num_train=256, magsim_samples=5, step_rule="newton", step_size=1.05,
    attack_steps=3, device="cpu", seed=1,
)
run = distill(recipe, "run")
say("train")
nets, data = {"teacher": run.teacher(), "student": run.student()}, run.dataset()
assert data.num_classes == 200 and data.shape == (3, 64, 64)
images = data.test.floats([0, 50, 100])
plane_map(nets, images, data.classes, resolution=200).save("plane.html")
say("plane")
write_report([run], "report.html")
say("report")
"""
PANELS = """
run = Run.open("run")
with_panels = [DistillLab(run), SampleLab(run), EmbeddingLab(run, most=300)]
for panel in with_panels:
    panel.wait(600)
    assert panel.status.kind != "error", panel.status.text
    say(type(panel).__name__)
"""


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_200_classes_of_64_by_64_train_draw_and_report_within_2_gb(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for k in range(CLASSES):
        (tmp_path / "many" / f"{k:03}").mkdir(parents=True)
        colour = random.integers(0, 256, (4, 4, 3))
        for i in range(EACH):
            pixels = np.clip(colour + random.normal(0, 40, (4, 4, 3)), 0, 255).astype(np.uint8)
            image = Image.fromarray(pixels).resize((64, 64), Image.Resampling.BICUBIC)
            image.save(tmp_path / "many" / f"{k:03}" / f"{i}.jpg")
    paths = {"AMKD_VIZ_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(Path(__file__).parents[1])}
    most: dict[str, int] = {}
    for script in (WORK, PANELS):
        command = [sys.executable, "-c", START + script]
        made = subprocess.run(command, cwd=tmp_path, env=os.environ | paths, capture_output=True, text=True)
        assert made.returncode == 0, made.stderr[-2000:]
        most |= {line.split()[0]: int(line.split()[1]) for line in made.stdout.splitlines()}
    assert list(most) == ["train", "plane", "report", "DistillLab", "SampleLab", "EmbeddingLab"]
    assert max(most.values()) < LIMIT, {name: f"{size / 2**20:.0f} MB" for name, size in most.items()}
    assert (tmp_path / "report.html").stat().st_size > 10_000

"""The command line: exit status 0, or 2 with one line; and the demo, the doctor and the progress bar behind it."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import types
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path

import pytest
from recipes import POINTS, flags

from amkd_viz import __version__
from amkd_viz.cli import COMMANDS
from amkd_viz.core.errors import InputError
from amkd_viz.data.where import PARTS
from amkd_viz.doctor import diagnosis
from amkd_viz.models import architectures
from amkd_viz.objectives import methods
from amkd_viz.progress import Progress
from amkd_viz.runs import Run, distill, prepare
from amkd_viz.training import EpochEnded, Recipe

CHECKOUT = Path(__file__).parents[1]
TINY = POINTS.replace(epochs=2, teacher_epochs=3, num_train=32, magsim_samples=5)
FLAGS = [word for word in flags(TINY) if word not in ("--method", "amkd")]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Work in an empty folder, without the data sets that the machine may hold."""
    monkeypatch.setenv("AMKD_VIZ_DATA", str(tmp_path / "no-data"))
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def reports(monkeypatch):
    """Runs that were drawn, instead of drawing them."""
    drawn = []

    def write_report(runs, path, left_out=()):
        drawn.append([run.path.name for run in runs])
        path.write_text("<html>")
        return path

    stub = types.ModuleType("amkd_viz.views.report")
    stub.write_report = write_report
    monkeypatch.setitem(sys.modules, stub.__name__, stub)
    monkeypatch.delitem(sys.modules, "amkd_viz.demo", raising=False)  # it imports the stub anew
    yield drawn
    sys.modules.pop("amkd_viz.demo", None)


def python(*words: str, **more) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        **more,
    )


# help


def test_the_package_and_its_help_import_nothing_heavy():
    code = """
import sys
import amkd_viz
dir(amkd_viz), amkd_viz.__version__
from amkd_viz.cli import main
try:
    main(["--help"])
except SystemExit as stop:
    print("status", stop.code)
print(*sys.modules)
"""
    done = python("-c", code)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "status 0" in done.stdout
    assert "amkd_viz.cli" in loaded
    assert not loaded & {"torch", "numpy", "plotly", "umap", "sklearn", "ipywidgets", "tqdm", "amkd_viz.training"}
    for name, run in COMMANDS.items():
        assert re.search(rf"^  {name}\s+{re.escape(run.__doc__ or '-')}$", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(call, here, command):
    status, out, err = call(command, "--help")
    assert (status, err) == (0, "")
    assert out.startswith(f"usage: amkd-viz {command} ")
    assert " ".join((COMMANDS[command].__doc__ or "-").split()) in " ".join(out.split())
    assert list(here.iterdir()) == []


COMPARE = {"methods", "seeds", "jobs", "engine", "address", "gpus-per-cell"}


@pytest.mark.parametrize(
    ("command", "more", "less"),
    [("distill", {"resume", "tensorboard"}, set()), ("compare", COMPARE, {"method", "seed"})],
)
def test_help_lists_every_flag_and_every_name_that_it_takes(call, command, more, less):
    _, out, _ = call(command, "--help")
    settings = {name.replace("_", "-") for name in Recipe.__dataclass_fields__} - {"overrides"}
    assert (
        set(re.findall(r"^  --([a-z0-9-]+)", out, re.MULTILINE))
        == (settings | {"set", "preset", "download", "out"} | more) - less
    )
    listed, text = out[out.index("\nmethods, for --method") :], " ".join(out.split())
    assert max(map(len, listed.splitlines())) <= 120
    for name in methods:
        assert f"{name} {methods.about(name)}" in " ".join(listed.split())
        for term, _ in methods[name]().summands:
            for field in (field for field in fields(term) if not field.metadata.get("wiring")):
                assert re.search(rf"^  {term.name} [^:]*\b{field.name}=", listed, re.MULTILINE), field.name
    assert ", ".join(architectures()) in text
    for message in (
        "up for 15 %, cosine down",
        "(default: 0.1)",
        "one of fp32, bf16",
        "auto, cpu, cuda, cuda:1, mps, xpu",
    ):
        assert message in text
    assert "mining=all|" in listed
    assert "'amkd-viz distill --help' lists all settings, methods, terms and nets." in call("--help")[1]


def test_version(call):
    assert call("--version") == (0, f"amkd_viz {__version__}\n", "")


# errors


def test_an_interrupt_says_how_to_go_on(call, monkeypatch, here):
    import amkd_viz.progress as progress

    class Interrupted(Progress):
        def __call__(self, event):
            if isinstance(event, EpochEnded):
                raise KeyboardInterrupt

    real = progress.Progress
    monkeypatch.setattr(progress, "Progress", Interrupted)
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(here / "cache"))
    status, _, err = call("distill", *FLAGS, "--method", "kd")
    assert status == 130
    assert err.strip().splitlines()[-1] == "amkd-viz distill: stopped; what has been written stays."
    assert not (here / "runs").exists()  # it was the teacher's training
    distill(TINY.replace(method="kd"), here / "first")
    status, _, err = call("distill", *FLAGS, "--method", "kd")
    (folder,) = (here / "runs").iterdir()
    assert err.strip().splitlines()[-1] == (
        "amkd-viz distill: stopped; what has been written stays. "
        f"'amkd-viz distill --resume runs/{folder.name}' goes on with the run it left."
    )
    monkeypatch.setattr(progress, "Progress", real)
    status, _, err = call("distill", "--resume", "none")
    assert (status, err.count("\n")) == (2, 1)
    status, out, _ = call("distill", "--resume", f"runs/{folder.name}")
    assert status == 0
    assert f"The run is in runs/{folder.name}." in out
    assert [line["epoch"] for line in Run.open(folder).metrics()] == [1, 2]
    assert Run.open(folder).finished


@pytest.mark.slow
def test_in_a_real_process(here):
    done = python("-m", "amkd_viz", "distill", *FLAGS, "--method", "kd", "--out", "run")
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert Run.open(here / "run").finished
    assert "The run is in run." in done.stdout
    done = python("-m", "amkd_viz", "distill", *FLAGS, "--out", "run")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "amkd-viz distill: run holds another run and is never overwritten; choose another name.\n"


# distill


def test_distill(call, here):
    status, out, err = call("distill", *FLAGS, "--method", "amkd", "--seed", "4", "--set", "kd.scale=0.50")
    assert status == 0
    (folder,) = (here / "runs").iterdir()
    run = Run.open(folder)
    assert run.finished
    assert run.recipe == TINY.replace(seed=4, overrides={"kd.scale": 0.5})
    assert folder.name == f"blobs-amkd-seed4-{run.recipe.hash}"
    assert f"amkd    {100 * run.summary['test_accuracy']:.2f} " in out
    assert f"The run is in runs/{folder.name}." in out
    assert "epoch 2/2" in err  # the bar


def test_the_same_flags_give_the_same_recipe_as_python(call, monkeypatch):
    import amkd_viz.runs

    made = []

    def spy(recipe, out, listen):
        made.append((recipe, out))
        raise InputError("enough.")

    monkeypatch.setattr(amkd_viz.runs, "distill", spy)
    words = [
        *("--num-train", "50", "--learning-rate", "0.05", "--precision", "bf16", "--root", "data", "--out", "x y"),
        *("--set", "boundary_triplet.mining=semi-hard", "--set", "kd.t2=true", "--set", "boundary_triplet.margin=.25"),
    ]
    call("distill", *words)
    changes = {"boundary_triplet.mining": "semi-hard", "kd.t2": True, "boundary_triplet.margin": 0.25}
    expected = Recipe(num_train=50, learning_rate=0.05, precision="bf16", root="data", overrides=changes)
    assert made == [(expected, Path("x y"))]
    terms = {term.name: term for term, _ in made[0][0].objective.summands}
    assert (terms["boundary_triplet"].margin, terms["boundary_triplet"].mining, terms["kd"].t2) == (
        0.25,
        "semi-hard",
        True,
    )
    for dataset, teacher, student in (
        ("moons", "mlp", "mlp-small"),
        ("spirals:noise=0.2", "mlp", "mlp-small"),
        ("digits", "cnn", "cnn-tiny"),
        ("cifar10", "resnet26", "resnet8"),
    ):
        for words in ([], ["--student", "mlp-tiny"]):
            call("distill", "--dataset", dataset, *words)
            chosen = words[-1] if words else student
            assert made[-1] == (Recipe(dataset=dataset, teacher=teacher, student=chosen), None)
    help = " ".join(call("distill", "--help")[1].split())
    assert "(default: cnn for digits, mlp for 2-D problems, resnet26 for other images)" in help

    asked = []

    def fetch(name, **options):
        asked.append((name, options))
        raise InputError("no network.")

    monkeypatch.setattr("amkd_viz.data.load", fetch)
    status, _, err = call("distill", "--dataset", "cifar10", "--root", "data", "--download")
    assert (status, err) == (2, "amkd-viz distill: no network.\n")
    assert asked == [("cifar10", {"root": "data", "download": True})]


# compare and report


def test_compare(call, here, reports):
    words = ("compare", *FLAGS, "--methods", "ce,kd", "--seeds", "2", "--out", "both", "--jobs", "1")
    (here / "both" / "kd-seed1").mkdir(parents=True)
    status, out, err = call(*words, "--fresh-subset")
    assert status == 0
    assert Run.open("both/kd-seed1").recipe.fresh_subset
    assert call(*words)[:2] == (2, "")  # other recipes
    assert sorted(p.name for p in (here / "both").iterdir()) == [
        *("ce-seed0", "ce-seed1", "kd-seed0", "kd-seed1"),
        "report.html",
    ]
    assert reports == [["ce-seed0", "ce-seed1", "kd-seed0", "kd-seed1"]]
    assert "mean ± sd over seeds 0, 1" in out
    assert "blobs: kd against ce " in out
    assert "The report is both/report.html." in out
    assert "8/8 epochs" in err or "11/11 epochs" in err  # with the teacher's where it had to be trained
    assert "4 of 4 runs" in err


def test_compare_prints_the_table_of_the_others_where_a_run_fails(call, here, reports):
    words = ("compare", *FLAGS, "--methods", "ce,kd", "--seeds", "1", "--out", "both", "--jobs", "1")
    distill(TINY.replace(method="ce"), here / "both" / "ce-seed0")
    (here / "both" / "kd-seed0").mkdir()
    (here / "both" / "kd-seed0" / "mine.txt").write_text("mine")
    status, out, err = call(*words)
    assert status == 2
    assert "\nce " in out
    assert err.splitlines()[-1] == (
        "amkd-viz compare: 1 of 2 runs did not finish (kd-seed0: both/kd-seed0 holds other files and is never "
        "overwritten; choose another name); the same command goes on with them."
    )
    assert reports == []
    (here / "both" / "kd-seed0" / "mine.txt").unlink()
    assert call(*words)[0] == 0
    assert reports == [["ce-seed0", "kd-seed0"]]


@pytest.fixture
def three_runs(here):
    """Two finished runs and one that was stopped."""
    recipe = TINY.replace(epochs=1, method="ce")
    for seed in (0, 1):
        distill(recipe.replace(seed=seed), here / "all" / f"ce-{seed}")
    Run.create(here / "all" / "ce-2", recipe.replace(seed=2)).log({"epoch": 1})
    return here / "all"


def test_report(call, here, three_runs, reports):
    status, out, err = call("report", "all")
    assert (status, err) == (0, "")
    assert out.splitlines()[0] == "Left out, not finished: all/ce-2."
    assert (three_runs / "report.html").is_file()
    call("report", "all/ce-1", "all/ce-0")
    assert (three_runs / "report-2.html").is_file()  # the first report is not overwritten
    call("report", "all", "all/ce-0", str(three_runs), "--out", "own.html")  # each run once
    assert reports == [["ce-0", "ce-1"], ["ce-1", "ce-0"], ["ce-0", "ce-1"]]
    for name, method in (("ce-0", "amkd"), ("ce-1", "kd")):  # from the plainest method to the fullest
        config = three_runs / name / "config.json"
        config.write_text(config.read_text().replace('"ce"', f'"{method}"'))
    call("report", "all")
    assert reports[3:] == [["ce-1", "ce-0"]]


def test_report_refuses(call, three_runs, reports):
    Path("own.html").write_text("mine")
    config = three_runs / "ce-2" / "config.json"
    for words, message in (
        (["all", "--out", "own.html"], "own.html holds a file and is never overwritten"),
        (["all", "--out", "rep.pdf"], "A report is an HTML page, which rep.pdf cannot be; give --out a name that ends"),
        (["all", "--out", "rep"], "A report is an HTML page, which rep cannot be"),
        (["all/ce-2"], "None of the runs in all/ce-2 is finished; there is nothing to draw."),
        (["all/ce-2"], "all/ce-2/config.json is not a valid run"),
    ):
        if "valid" in message:
            config.write_text("{")
        status, _, err = call("report", *words)
        assert (status, err.count("\n")) == (2, 1)
        assert message in err
    assert reports == []


# lab


@pytest.fixture
def launched(monkeypatch):
    commands = []
    monkeypatch.setattr(subprocess, "run", lambda command, **_: commands.append(command))
    return commands


def test_lab_stays_on_this_machine_behind_its_token(call, here, launched, monkeypatch):
    pytest.importorskip("jupyterlab")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    (here / "notebooks").mkdir()
    assert call("lab")[0] == 0
    (command,) = launched
    assert command[:3] == [sys.executable, "-m", "jupyterlab"]
    assert "--ServerApp.ip=127.0.0.1" in command
    assert "--ServerApp.root_dir=notebooks" in command
    words = " ".join(command).lower()
    assert not re.search(
        r"0\.0\.0\.0|token|password|--ip[= ]|disable_check|allow_origin|allow_remote|allow-root", words
    )
    (here / "notebooks").rename(here / "mine")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    call("lab")
    call("lab", "mine")
    roots = ["--ServerApp.root_dir=amkd-notebooks", "--ServerApp.root_dir=mine"]
    assert [command[4] for command in launched[1:]] == roots
    assert all("--allow-root" in command for command in launched[1:])


def test_ctrl_c_is_for_the_server_alone(call, here, monkeypatch):
    """JupyterLab asks before it stops; if this process ended at once, it would take the server along."""
    pytest.importorskip("jupyterlab")
    before = signal.getsignal(signal.SIGINT)
    (here / "notebooks").mkdir()
    ended = []

    def serves(command, **_):
        os.kill(os.getpid(), signal.SIGINT)
        ended.append(command)

    monkeypatch.setattr(subprocess, "run", serves)
    assert call("lab")[0] == 0
    assert len(ended) == 1
    assert signal.getsignal(signal.SIGINT) is before


def test_lab_opens_the_first_notebook_of_a_copy_without_answers(call, here, launched):
    pytest.importorskip("jupyterlab")
    assert call("lab")[0] == 0
    copy = here / "amkd-notebooks"
    assert "--LabApp.default_url=/lab/tree/00_start_here.ipynb" in launched[0]
    assert {"00_start_here.ipynb", "07_many_methods.ipynb", "exercises", "images"} <= {p.name for p in copy.iterdir()}
    assert list(copy.rglob("answers.md")) == list(copy.rglob("runs")) == []
    (copy / "00_start_here.ipynb").write_text("mine")
    call("lab")
    assert (copy / "00_start_here.ipynb").read_text() == "mine"


def test_lab_without_jupyterlab(call, launched, monkeypatch):
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "jupyterlab" else real(name))
    status, _, err = call("lab")
    assert status == 2
    assert "run 'pip install jupyterlab'" in err
    assert launched == []


# serve


def test_serve_stays_on_this_machine_behind_a_token(call, here, monkeypatch):
    import importlib.util

    started = []
    monkeypatch.setattr(subprocess, "run", lambda command, env, **_: started.append((command, env)))
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name if name == "voila" else real(name))
    monkeypatch.delenv("JUPYTER_TOKEN", raising=False)
    status, out, _ = call("serve", "MethodRace", "--port", "9001")
    assert status == 0
    ((command, env),) = started
    assert command[:4] == [sys.executable, "-m", "voila", "amkd-pages"]
    assert {"--Voila.ip=127.0.0.1", "--port=9001", "--Voila.auto_token=True", "--no-browser"} <= set(command)
    assert len(env["JUPYTER_TOKEN"]) >= 24
    assert f"http://127.0.0.1:9001/?token={env['JUPYTER_TOKEN']}" in out
    assert env["JUPYTER_TOKEN"] not in " ".join(command)
    page = here / "amkd-pages" / "MethodRace.ipynb"
    assert "panel = MethodRace('spirals')" in page.read_text()
    page.write_text("mine")
    call("serve", "MethodRace")
    assert page.read_text() == "mine"
    assert len({env["JUPYTER_TOKEN"] for _, env in started}) == 2


def test_serve_refuses_another_panel_and_names_what_is_missing(call, here, monkeypatch):
    import importlib.util

    status, _, err = call("serve", "Nothing")
    assert status == 2
    assert "BoundaryLab" in err
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    status, _, err = call("serve")
    assert status == 2
    assert "run 'pip install voila'" in err
    assert list(here.iterdir()) == []


# doctor


def test_doctor(call, here, tmp_path):
    folder = tmp_path / "data" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for part in PARTS["cifar10"]:
        (folder / part).touch()
    status, out, err = call("doctor", "--root", str(tmp_path / "data"))
    assert (status, err) == (0, "")
    assert f"amkd_viz {__version__}, Python {sys.version.split()[0]}" in out
    assert re.search(rf"^  torch +{re.escape(version('torch'))}$", out, re.MULTILINE)
    assert "cores," in out
    for name, state in {"moons": "ready", "digits": "ready", "cifar10": "ready", "cifar100": "missing"}.items():
        assert re.search(rf"^  {name} +{state} ", out, re.MULTILINE), name
    assert "To get CIFAR:" in out
    assert "To get Tiny ImageNet:" in out
    assert "AMKD_VIZ_DATA" in out
    assert list(here.iterdir()) == []
    (folder / "data_batch_1").unlink()
    (folder / "batches.meta").unlink()
    _, out, _ = call("doctor", "--root", str(tmp_path / "data"))
    assert re.search(rf"^  cifar10 +missing +{folder} lacks data_batch_1, batches.meta$", out, re.MULTILINE)


def test_doctor_names_what_is_missing_and_what_needs_it(monkeypatch):
    import amkd_viz.doctor as doctor
    import amkd_viz.views.chromium as export

    missing = {"onnxruntime", "tensorboard"}
    real = doctor.version

    def some(name):
        if name in missing:
            raise doctor.PackageNotFoundError(name)
        return real("torch")

    monkeypatch.setattr(doctor, "version", some)
    found = {"kaleido": None}
    monkeypatch.setattr(doctor, "find_spec", lambda name: found[name])
    for browser, kaleido, message in (
        ("/opt/chromium", None, "by /opt/chromium"),
        (None, None, "missing (views save them with Chromium or Chrome, or kaleido)"),
        (None, "there", "by kaleido"),
    ):
        monkeypatch.setattr(export, "browser", lambda browser=browser: browser)
        found["kaleido"] = kaleido
        assert f"  .png and .svg  {message}" in diagnosis()
    lines = diagnosis()
    assert "  onnxruntime    missing (only 'export --onnx' needs it: pip install onnxruntime)" in lines
    assert "  tensorboard    missing (only 'distill --tensorboard' needs it: pip install tensorboard)" in lines
    assert not any("To get them" in line for line in lines)  # the rest works without
    missing |= {"plotly", "jupyterlab"}
    lines = diagnosis()
    assert "  plotly         missing" in lines
    assert "  jupyterlab     missing (only the notebooks need it)" in lines
    assert "  To get them: pip install plotly jupyterlab" in lines


def test_doctor_lists_teachers(tmp_path, monkeypatch):
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path / "deep" / "er"))
    assert "Teachers trained here: 0" in "\n".join(diagnosis())
    prepare(TINY.replace(teacher_epochs=1))
    message = "\n".join(diagnosis())
    assert "Teachers trained here: 1, in " in message
    (path,) = (tmp_path / "deep" / "er" / "teachers").iterdir()
    assert re.search(rf"  {path.name}: mlp-small on blobs, [\d.]+% validation accuracy, [1-9] kB", message)
    file = path / "student.safetensors"
    file.write_bytes(file.read_bytes()[:20])
    assert f"  {path.name}: damaged or not readable; delete it" in "\n".join(diagnosis())
    (path / "summary.json").unlink()
    assert f"  {path.name}: mlp-small on blobs, 1 of 1 epochs" in "\n".join(diagnosis())


# progress


def test_the_bar_counts_epochs_and_names_what_runs(monkeypatch, tmp_path):
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path / "cache"))
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    recipe = TINY.replace(method="kd", seed=7)
    with Progress(10):
        pass
    assert screen.getvalue() == ""  # no bar before anything starts
    with Progress(recipe.epochs) as progress:
        distill(recipe, tmp_path / "run", listen=progress)
        bar = progress._bar
        assert (bar.n, bar.total) == (5, 5)  # three of the teacher, two of the student
    assert "blobs: teacher mlp-small" in screen.getvalue()
    assert "blobs: kd seed 7" in screen.getvalue()
    assert re.search(r"5/5 epochs.*epoch 2/2, [\d,]+ images/s", screen.getvalue())


# demo


@pytest.fixture
def small_demo(reports, monkeypatch, tmp_path):
    import amkd_viz.demo as demo

    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path / "cache"))  # its teachers are trained, and counted
    small = {"epochs": 2, "teacher_epochs": 2, "magsim_samples": 3, "batch_size": 20, "max_boundary_samples": 4}
    for name, size in {"DIGITS": "cnn", "SPIRALS": "mlp"}.items():
        nets = {"student": f"{size}-tiny", "teacher": f"{size}-small"}
        monkeypatch.setattr(demo, name, getattr(demo, name).replace(**small, **nets, num_train=40, device="cpu"))
    return demo


def test_the_demo_writes_everything_and_prints_the_table(call, here, small_demo, reports):
    status, out, err = call("demo", "--out", "demo", "--seeds", "2", "--jobs", "1")
    assert status == 0
    plain = [f"{m}-seed{s}" for m in ("ce", "kd", "bss", "amkd") for s in (0, 1)]
    names = {"digits": plain, "digits-weights-x8": plain[2:6], "spirals": plain}
    assert sorted(p.name for p in (here / "demo").iterdir()) == sorted([*names, "report.html"])
    assert reports == [[name for own in names.values() for name in own]]
    runs = {f"{part}/{name}": Run.open(f"demo/{part}/{name}") for part, own in names.items() for name in own}
    assert all(run.finished for run in runs.values())
    assert runs["digits-weights-x8/kd-seed0"].recipe.objective.weights(0) == {"ce": 1, "kd": 32}
    assert runs["digits-weights-x8/bss-seed1"].recipe.objective.weights(0) == {"ce": 1, "kd": 32, "boundary_kd": 16}
    assert runs["digits/bss-seed0"].recipe.objective.weights(0) == {"ce": 1, "kd": 4, "boundary_kd": 2}
    for heading in ("digits, last epoch, mean ± sd over seeds 0, 1", "spirals, last epoch, mean", "MagSim", "AngSim"):
        assert heading in out
    assert out.index("With 40 labelled images") < out.index("8 times the weight") < out.index("A 2-D problem")
    for pair in ("kd against ce", "bss against kd", "amkd against bss"):
        assert f"digits: {pair} " in out
    assert "is our reading of it" in out
    assert "The report is demo/report.html" in out
    assert err.startswith("\r0 of 20 runs, digits: ")  # the bar is never without a name
    assert "20 of 20 runs" in err
    assert "44/44 epochs" in err  # twenty students and two teachers, two epochs each
    assert call("demo", "--out", "demo", "--seeds", "2", "--jobs", "1")[2] == ""  # nothing is left to train


@pytest.mark.parametrize(
    ("flag", "value"),
    [("--epochs", "99"), ("--seed", "0"), ("--schedule", "step"), ("--out", "other"), ("--download", None)],
)
def test_resume_takes_no_other_settings(call, here, flag, value):
    run = distill(TINY.replace(epochs=1, method="ce"), here / "run")
    before = sorted(here.rglob("*"))
    status, out, err = call("distill", "--resume", "run", flag, *([value] if value else []))
    assert (status, out) == (2, "")
    assert err == (
        f"amkd-viz distill: --resume goes on with the settings of run, so {flag} would not count; only "
        "--learning-rate, --step-size, --attack-steps, --max-boundary-samples, --set may change. Leave it out, or "
        "train from one of its epochs with other settings by amkd_viz.runs.fork.\n"
    )
    assert sorted(here.rglob("*")) == before
    assert run.recipe.epochs == 1

"""The command line: exit status 0, or 2 with one line; and the demo, the doctor and the progress bar behind it."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import types
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path

import pytest

import amkd_viz.cli as cli
from amkd_viz import __version__
from amkd_viz.cli import COMMANDS, main
from amkd_viz.core.errors import InputError
from amkd_viz.data.where import PARTS
from amkd_viz.doctor import diagnosis
from amkd_viz.models import architectures
from amkd_viz.objectives import methods
from amkd_viz.progress import Progress
from amkd_viz.runs import Run, distill
from amkd_viz.training import EpochEnded, Recipe, Started, events, prepare

CHECKOUT = Path(__file__).parents[1]
TINY = {
    "dataset": "blobs",
    "teacher": "mlp-small",
    "student": "mlp-tiny",
    "epochs": 2,
    "teacher_epochs": 3,
    "num_train": 32,
    "batch_size": 16,
    "teacher_batch_size": 16,
    "max_boundary_samples": 8,
    "magsim_samples": 5,
    "device": "cpu",
}
FLAGS = [word for name, value in TINY.items() for word in (f"--{name.replace('_', '-')}", str(value))]
PROMISED = ["dataset", "root", "teacher", "student", "method", "epochs", "batch-size", "seed", "num-train", "device"]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """Teachers of this test session; never the user's. No data set that the machine may hold."""
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path_factory.getbasetemp() / "teachers-of-the-session"))
    monkeypatch.setenv("AMKD_VIZ_DATA", str(tmp_path_factory.getbasetemp() / "no-data"))


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Each test works in an empty folder."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def reports(monkeypatch):
    """Runs that were drawn, instead of drawing them."""
    drawn = []

    def write_report(runs, path):
        drawn.append([run.path.name for run in runs])
        path.write_text("<html>")
        return path

    stub = types.ModuleType("amkd_viz.views.report")
    stub.write_report = write_report
    monkeypatch.setitem(sys.modules, stub.__name__, stub)
    monkeypatch.delitem(sys.modules, "amkd_viz.demo", raising=False)  # it imports the stub anew
    yield drawn
    sys.modules.pop("amkd_viz.demo", None)


@pytest.fixture
def call(capsys):
    """status, stdout, stderr of one command."""

    def run(*words: str):
        try:
            status = main(list(words))
        except SystemExit as stop:
            status = stop.code
        return status, *capsys.readouterr()

    return run


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


def test_help_imports_nothing_heavy():
    code = """
import sys
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
    assert not loaded & {"torch", "numpy", "tqdm", "plotly", "amkd_viz.training"}
    for name, run in COMMANDS.items():
        assert re.search(rf"^  {name}\s+{re.escape(run.__doc__ or '-')}$", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(call, here, command):
    status, out, err = call(command, "--help")
    assert (status, err) == (0, "")
    assert out.startswith(f"usage: amkd-viz {command} ")
    assert " ".join((COMMANDS[command].__doc__ or "-").split()) in " ".join(out.split())
    assert list(here.iterdir()) == []


def test_distill_lists_every_field_of_the_recipe(call):
    _, out, _ = call("distill", "--help")
    flags = set(re.findall(r"^  --([a-z-]+)", out, re.MULTILINE))
    assert {*PROMISED, "precision", "out"} <= flags
    fields = {name.replace("_", "-") for name in Recipe.__dataclass_fields__} - {"overrides"}
    assert fields | {"set", "download", "out", "resume", "tensorboard"} == flags
    assert "up for 15 %, cosine down" in " ".join(out.split())
    assert "(default: 0.1)" in out
    assert "one of fp32, bf16" in out
    assert "auto, cpu, cuda, cuda:1, mps, xpu" in " ".join(out.split())
    _, out, _ = call("compare", "--help")
    flags = set(re.findall(r"^  --([a-z-]+)", out, re.MULTILINE))
    assert (fields | {"set", "download", "out", "methods", "seeds"}) - {"method", "seed"} == flags


@pytest.mark.parametrize("command", ["distill", "compare"])
def test_help_lists_every_name_that_a_flag_takes(call, command):
    _, out, _ = call(command, "--help")
    listed, text = out[out.index("\nmethods, for --method") :], " ".join(out.split())
    assert max(map(len, listed.splitlines())) <= 120
    for name in methods:
        assert f"{name} {methods.about(name)}" in " ".join(listed.split())
        for term, _ in methods[name]().summands:
            for field in (field for field in fields(term) if not field.metadata.get("wiring")):
                assert re.search(rf"^  {term.name} [^:]*\b{field.name}=", listed, re.MULTILINE), field.name
    assert ", ".join(architectures()) in text
    assert "mining=all|" in listed
    assert "'amkd-viz distill --help' lists all settings, methods, terms and nets." in call("--help")[1]


def test_version(call):
    assert call("--version") == (0, f"amkd_viz {__version__}\n", "")


# errors


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["--foo"], "unrecognized arguments: --foo; see 'amkd-viz --help'."),
        (["distil"], "invalid choice: 'distil'"),
        (["distill", "--epoch", "3"], "unrecognized arguments: --epoch 3"),
        (["distill", "extra"], "unrecognized arguments: extra"),
        (["compare", "--seed", "5"], "unrecognized arguments: --seed 5"),  # not --seeds 5
        (["compare", "--method", "kd"], "unrecognized arguments: --method kd"),
        (["compare", "--seeds", "two"], "compare: --seeds takes a whole number, not 'two'; see"),
        (["compare", "--seeds", "0"], "seeds must be at least 1, not 0."),
        (["compare", "--batch-size", "1"], "compare: --batch-size must be between 2 and 65536, got 1."),
        (["distill", "--set", "ce.scale=0", "--method", "ce"], "--set must leave a term"),
        (["compare", "--methods", ","], "methods must name one or more"),
        (["compare", "--methods", "ce,ce"], "each once, not 'ce,ce'"),
        (["compare", "--methods", "ce,dk"], "Unknown method 'dk'; did you mean 'kd'"),
        (["demo", "--seeds", "0"], "seeds must be at least 1, not 0."),
        (["report"], "the following arguments are required: RUN"),
        (["report", "nowhere"], "There is no folder nowhere; give run folders"),
        (["report", "."], "There is no run in .: no config.json there or below."),
        (["export", "nowhere"], "one of the arguments --onnx --torch-export is required"),
        (
            ["export", "nowhere", "--onnx", "--torch-export"],
            "argument --torch-export: not allowed with argument --onnx",
        ),
        (["export", "nowhere", "--torch-export"], "There is no run in nowhere: it has no config.json."),
        (["lab", "nowhere"], "There is no folder nowhere"),
        (["doctor", "me"], "unrecognized arguments: me"),
        (["distill", "--set", "kd"], "--set takes TERM.FIELD=VALUE, e.g. boundary_triplet.margin=0.2, not 'kd'."),
        (["distill", "--set", "kd=2"], "--set takes TERM.FIELD=VALUE"),
        (["distill", "--set", "kd.scale"], "--set takes TERM.FIELD=VALUE"),
        (["distill", "--set", "dk.scale=2"], "Unknown term 'dk'; did you mean 'kd'"),
        (["distill", "--set", "kd.temperature=warm"], "kd.temperature must be a number, got 'warm'."),
        (["distill", "--set", "kd.temperature="], "must be a number, got ''."),
        (["distill", "--set", "kd.scale=null"], "kd.scale must be a number, got None."),
        (["distill", "--set", "kd.scale=nan"], "kd.scale must be a number, got nan."),
        (["distill", "--set", "kd.scale=-1"], "kd.scale must be at least 0, got -1."),
        (["distill", "--set", "kd.scale=1", "--set", "kd.scale=2"], "--set gives kd.scale twice, as 1 and as 2; leave"),
        (["distill", "--set", "ce.scale=1", "--set", "ce.scale=1.0"], "--set gives ce.scale twice"),
        (
            ["distill", "--method", "ce", "--set", "kd.scale=2"],
            "Method ce has no term 'kd', so kd.scale has no effect; choose a method that has it: kd, bss, amkd, "
            "amkd-student, amkd-calibrated.",
        ),
        (["distill", "--device", "cuda:99"], "Device 'cuda:99' is not usable here: "),
        (["distill", "--device", "meta"], "Unknown device 'meta'"),
        (["distill", "--device", "cpu:x"], "Device 'cpu:x' is not usable here: "),
        (["distill", "--device", "gpu"], "Allowed: auto, cpu, cuda, mps, xpu."),
    ],
)
def test_one_line_and_status_2(call, here, reports, words, said):
    status, out, err = call(*words)
    assert status == 2
    assert said in err
    assert err.count("\n") == 1
    assert err.startswith("amkd-viz")
    assert out == ""
    assert list(here.iterdir()) == []
    assert reports == []


def test_a_field_is_named_by_its_flag_and_a_path_is_left_alone(call, monkeypatch):
    import amkd_viz.runs

    def diverged(recipe, out, listen):
        raise InputError("The loss is not finite (data/batch_size/x, epochs must); lower learning_rate=0.1.")

    monkeypatch.setattr(amkd_viz.runs, "distill", diverged)
    assert call("distill") == (
        2,
        "",
        "amkd-viz distill: The loss is not finite (data/batch_size/x, epochs must); lower --learning-rate=0.1.\n",
    )


def test_an_error_of_many_lines_is_said_in_one(call, monkeypatch):
    def broken(parser, words):
        raise InputError("first\nsecond\r\nthird.")

    monkeypatch.setitem(cli.COMMANDS, "doctor", broken)
    assert call("doctor") == (2, "", "amkd-viz doctor: first second third.\n")


def test_other_errors_are_ours_and_keep_their_traceback(monkeypatch):
    def broken(parser, words):
        raise ZeroDivisionError

    monkeypatch.setitem(cli.COMMANDS, "doctor", broken)
    with pytest.raises(ZeroDivisionError):
        main(["doctor"])


def test_an_interrupt_gives_130(call, monkeypatch, here):
    import amkd_viz.runs

    def stop(recipe, out, listen):
        Run.create(out, recipe)
        raise KeyboardInterrupt

    monkeypatch.setattr(amkd_viz.runs, "distill", stop)
    status, _, err = call("distill", *FLAGS, "--out", "run")
    assert status == 130
    assert err.strip() == "amkd-viz distill: stopped; what has been written stays."
    assert (here / "run" / "config.json").is_file()


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
    distill(Recipe(**TINY, method="kd"), here / "first")
    status, _, err = call("distill", *FLAGS, "--method", "kd")
    (folder,) = (here / "runs").iterdir()
    assert err.strip().splitlines()[-1] == (
        "amkd-viz distill: stopped; what has been written stays. "
        f"'amkd-viz distill --resume runs/{folder.name}' goes on with the run it left."
    )
    monkeypatch.setattr(progress, "Progress", real)
    assert call("distill", "--resume", f"runs/{folder.name}")[0] == 0
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
    assert run.recipe == Recipe(**TINY, method="amkd", seed=4, overrides={"kd.scale": 0.5})
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
    call("distill")
    assert made[1] == (Recipe(), None)


@pytest.mark.parametrize(
    ("dataset", "teacher", "student"),
    [
        ("moons", "mlp", "mlp-small"),
        ("spirals:noise=0.2", "mlp", "mlp-small"),
        ("digits", "cnn", "cnn-tiny"),
        ("cifar10", "resnet26", "resnet8"),
    ],
)
def test_nets_that_are_not_named_fit_the_data(call, monkeypatch, dataset, teacher, student):
    import amkd_viz.runs

    made = []
    monkeypatch.setattr(amkd_viz.runs, "distill", lambda recipe, out, listen: made.append(recipe) or 1 / 0)
    for words in ([], ["--student", "mlp"]):
        with pytest.raises(ZeroDivisionError):
            call("distill", "--dataset", dataset, *words)
    assert made[0] == Recipe(dataset=dataset, teacher=teacher, student=student)
    assert made[1] == made[0].replace(student="mlp")
    help = " ".join(call("distill", "--help")[1].split())
    assert "(default: cnn for digits, mlp for 2-D problems, resnet26 for other images)" in help


def test_moons_need_nothing_else(call):
    assert call("distill", "--dataset", "moons", "--epochs", "1", "--teacher-epochs", "1", "--out", "run")[0] == 0
    assert Run.open("run").finished


def test_download_fetches_first(call, monkeypatch):
    import amkd_viz.data

    asked = []

    def fetch(name, **options):
        asked.append((name, options))
        raise InputError("no network.")

    monkeypatch.setattr(amkd_viz.data, "load", fetch)
    status, _, err = call("distill", "--dataset", "cifar10", "--root", "data", "--download")
    assert (status, err) == (2, "amkd-viz distill: no network.\n")
    assert asked == [("cifar10", {"root": "data", "download": True})]


# compare and report


def test_compare(call, here, reports):
    status, out, err = call("compare", *FLAGS, "--methods", "ce,kd", "--seeds", "2", "--out", "both")
    assert status == 0
    assert sorted(p.name for p in (here / "both").iterdir()) == [
        *("ce-seed0", "ce-seed1", "kd-seed0", "kd-seed1"),
        "report.html",
    ]
    assert reports == [["ce-seed0", "ce-seed1", "kd-seed0", "kd-seed1"]]
    assert "mean ± sd over seeds 0, 1" in out
    assert "blobs: kd against ce " in out
    assert "The report is both/report.html." in out
    assert "8/8 epochs" in err or "11/11 epochs" in err  # with the teacher's where it had to be trained


@pytest.fixture
def three_runs(here):
    """Two finished runs and one that was stopped."""
    recipe = Recipe(**{**TINY, "epochs": 1}, method="ce")
    for seed in (0, 1):
        distill(recipe.replace(seed=seed), here / "all" / f"ce-{seed}")
    Run.create(here / "all" / "ce-2", recipe.replace(seed=2)).log({"epoch": 1})
    return here / "all"


def test_report_leaves_out_what_is_not_finished(call, three_runs, reports):
    status, out, err = call("report", "all")
    assert (status, err) == (0, "")
    assert out.splitlines()[0] == "Left out, not finished: all/ce-2."
    assert reports == [["ce-0", "ce-1"]]
    assert (three_runs / "report.html").is_file()
    call("report", "all/ce-1", "all/ce-0")
    assert reports[-1] == ["ce-1", "ce-0"]
    assert (three_runs / "report-2.html").is_file()  # the first report is not overwritten


def test_report_goes_from_the_plainest_method_to_the_fullest(call, three_runs, reports):
    for name, method in (("ce-0", "amkd"), ("ce-1", "kd")):
        config = three_runs / name / "config.json"
        config.write_text(config.read_text().replace(chr(34) + "ce" + chr(34), chr(34) + method + chr(34)))
    call("report", "all")
    assert reports == [["ce-1", "ce-0"]]


def test_report_counts_each_run_once(call, three_runs, reports):
    call("report", "all", "all/ce-0", str(three_runs), "--out", "own.html")
    assert reports == [["ce-0", "ce-1"]]
    status, _, err = call("report", "all", "--out", "own.html")
    assert (status, err.count("\n")) == (2, 1)
    assert "own.html holds a file and is never overwritten" in err
    assert len(reports) == 1


@pytest.mark.parametrize("name", ["rep.pdf", "rep", "rep.htm"])
def test_report_is_a_page_and_nothing_else(call, here, three_runs, reports, name):
    status, out, err = call("report", "all", "--out", name)
    assert (status, out, reports) == (2, "", [])
    assert err == (
        f"amkd-viz report: A report is an HTML page, which {name} cannot be; give --out a name that ends in .html.\n"
    )


def test_report_of_nothing_that_is_finished(call, three_runs, reports):
    status, _, err = call("report", "all/ce-2")
    assert status == 2
    assert err == "amkd-viz report: None of the runs in all/ce-2 is finished; there is nothing to draw.\n"
    (three_runs / "ce-2" / "config.json").write_text("{")
    status, _, err = call("report", "all")
    assert status == 2
    assert "all/ce-2/config.json is damaged" in err
    assert reports == []


# lab


@pytest.fixture
def launched(monkeypatch):
    commands = []
    monkeypatch.setattr(subprocess, "run", lambda command, **_: commands.append(command))
    return commands


def test_lab_stays_on_this_machine_behind_its_token(call, here, launched):
    pytest.importorskip("jupyterlab")
    (here / "notebooks").mkdir()
    assert call("lab")[0] == 0
    (command,) = launched
    assert command[:3] == [sys.executable, "-m", "jupyterlab"]
    assert "--ServerApp.ip=127.0.0.1" in command
    assert "--ServerApp.root_dir=notebooks" in command
    said = " ".join(command).lower()
    assert not re.search(r"0\.0\.0\.0|token|password|--ip[= ]|disable_check|allow_origin|allow_remote", said)


def test_lab_elsewhere(call, here, launched):
    pytest.importorskip("jupyterlab")
    (here / "mine").mkdir()
    call("lab")
    call("lab", "mine")
    assert [command[4] for command in launched] == ["--ServerApp.root_dir=.", "--ServerApp.root_dir=mine"]


def test_lab_as_root_only_says_so_for_root(call, launched, monkeypatch):
    pytest.importorskip("jupyterlab")
    for user in (0, 1000):
        monkeypatch.setattr("os.geteuid", lambda user=user: user)
        call("lab")
    assert ["--allow-root" in command for command in launched] == [True, False]


def test_lab_without_jupyterlab(call, launched, monkeypatch):
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "jupyterlab" else real(name))
    status, _, err = call("lab")
    assert status == 2
    assert "run 'pip install jupyterlab'" in err
    assert launched == []


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


def test_doctor_says_what_single_features_need(monkeypatch):
    import amkd_viz.doctor as doctor
    import amkd_viz.views.chromium as export

    found = {"kaleido": None}
    monkeypatch.setattr(doctor, "find_spec", lambda name: found[name])
    monkeypatch.setattr(export, "browser", lambda: "/opt/chromium")
    assert "  .png and .svg  by /opt/chromium" in diagnosis()
    monkeypatch.setattr(export, "browser", lambda: None)
    assert "  .png and .svg  missing (views save them with Chromium or Chrome, or kaleido)" in diagnosis()
    found["kaleido"] = "there"
    assert "  .png and .svg  by kaleido" in diagnosis()
    real = doctor.version

    def some(name):
        if name in ("onnxruntime", "tensorboard"):
            raise doctor.PackageNotFoundError(name)
        return real("torch")

    monkeypatch.setattr(doctor, "version", some)
    lines = diagnosis()
    assert "  onnxruntime    missing (only 'export --onnx' needs it: pip install onnxruntime)" in lines
    assert "  tensorboard    missing (only 'distill --tensorboard' needs it: pip install tensorboard)" in lines
    assert not any("To get them" in line for line in lines)  # the rest works without


def test_doctor_finds_teachers_and_what_is_missing(tmp_path, monkeypatch):
    import amkd_viz.doctor as doctor

    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path / "deep" / "er"))
    assert "Teachers trained here: 0" in "\n".join(diagnosis())
    for _ in events(prepare(Recipe(**{**TINY, "epochs": 1, "teacher_epochs": 1}, method="kd"))):
        pass
    said = "\n".join(diagnosis())
    assert "Teachers trained here: 1, in " in said
    (path,) = (tmp_path / "deep" / "er" / "teachers").iterdir()
    told = rf"  {path.stem}: mlp-small on blobs, [\d.]+% validation accuracy, [1-9] kB"
    assert re.search(told, said)
    path.write_bytes(path.read_bytes()[:20])
    assert f"  {path.stem}: damaged or not readable; delete it" in "\n".join(diagnosis())

    def some(name):
        if name in ("plotly", "jupyterlab"):
            raise doctor.PackageNotFoundError(name)
        return "1.2.3"

    monkeypatch.setattr(doctor, "version", some)
    lines = diagnosis()
    assert "  plotly         missing" in lines
    assert "  jupyterlab     missing (only the notebooks need it)" in lines
    assert "  To get them: pip install plotly jupyterlab" in lines


# progress


def test_the_bar_counts_epochs_and_names_what_runs(monkeypatch, tmp_path):
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path / "cache"))
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    recipe = Recipe(**TINY, method="kd", seed=7)
    with Progress(recipe.epochs) as progress:
        distill(recipe, tmp_path / "run", listen=progress)
        bar = progress._bar
        assert (bar.n, bar.total) == (5, 5)  # three of the teacher, two of the student
    assert "blobs: kd seed 7" in screen.getvalue()
    assert re.search(r"5/5 epochs.*epoch 2/2, [\d,]+ images/s", screen.getvalue())


def test_the_bar_names_a_teacher(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    teacher = types.SimpleNamespace(teacher=None, recipe=Recipe(student="cnn", epochs=3, method="ce"))
    with Progress(10) as progress:
        progress(Started(teacher))
        progress(EpochEnded(1, {"images_per_s": 12.3}))
        assert progress._bar.desc == "digits: teacher cnn"
        assert (progress._bar.n, progress._bar.total) == (1, 13)


def test_no_bar_before_anything_starts(monkeypatch):
    monkeypatch.setattr(sys, "stderr", screen := io.StringIO())
    with Progress(10):
        pass
    assert screen.getvalue() == ""


# demo


@pytest.fixture
def small_demo(reports, monkeypatch, tmp_path):
    import amkd_viz.demo as demo

    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path / "cache"))
    tiny = {
        "epochs": 2,
        "teacher_epochs": 2,
        "magsim_samples": 3,
        "batch_size": 20,
        "max_boundary_samples": 4,
        "device": "cpu",
    }
    students = {"DIGITS": "cnn-tiny", "SPIRALS": "mlp-tiny"}
    for name, student in students.items():
        recipe = getattr(demo, name).replace(**tiny, student=student, teacher=student.replace("tiny", "small"))
        monkeypatch.setattr(demo, name, recipe.replace(num_train=40))
    return demo


def test_the_demo_writes_everything_and_prints_the_table(call, here, small_demo, reports):
    status, out, err = call("demo", "--out", "demo", "--seeds", "2")
    assert status == 0
    digits = [f"{m}-seed{s}" for m in ("ce", "kd", "bss", "amkd") for s in (0, 1)]
    spirals = [f"{m}-seed0" for m in ("ce", "kd", "bss", "amkd")]
    assert sorted(p.name for p in (here / "demo").iterdir()) == ["digits", "report.html", "spirals"]
    assert reports == [digits + spirals]
    assert all(Run.open(here / "demo" / "digits" / name).finished for name in digits)
    assert all(Run.open(here / "demo" / "spirals" / name).finished for name in spirals)
    for heading in ("digits, last epoch, mean ± sd over seeds 0, 1", "spirals, last epoch, seed 0", "MagSim", "AngSim"):
        assert heading in out
    for pair in ("kd against ce", "bss against kd", "amkd against bss"):
        assert f"digits: {pair} " in out
    assert "reading of a public abstract" in out
    assert "The report is demo/report.html" in out
    assert err.startswith("\rdigits: ")  # the bar is never without a name
    assert "spirals: amkd seed 0" in err
    assert "28/28 epochs" in err  # twelve students and two teachers, two epochs each

    status, out, err = call("demo", "--out", "demo")
    assert (status, out) == (2, "")
    assert err == "amkd-viz demo: demo holds other files and is never overwritten; choose another name.\n"
    assert len(reports) == 1


def test_the_demo_is_the_one_that_was_asked_for():
    """Real scans and a 2-D problem, the four methods, one small student by a larger teacher."""
    from amkd_viz.demo import DIGITS, METHODS, SPIRALS

    assert METHODS == ("ce", "kd", "bss", "amkd")
    assert (DIGITS.dataset, SPIRALS.dataset) == ("digits", "spirals")
    for recipe in (DIGITS, SPIRALS):
        assert recipe.teacher != recipe.student
        assert recipe.magsim_samples > 0


def test_resume_goes_on_with_a_run_that_was_stopped(call, tmp_path):
    recipe = Recipe(
        dataset="spirals",
        teacher="mlp-small",
        student="mlp-tiny",
        method="ce",
        epochs=3,
        teacher_epochs=1,
        num_train=30,
    )

    class Killed(BaseException):
        pass

    def kill(event):
        if isinstance(event, EpochEnded) and event.epoch == 2:
            raise Killed

    with pytest.raises(Killed):
        distill(recipe, tmp_path / "stopped", listen=kill)
    assert not Run.open(tmp_path / "stopped").finished
    status, out, _ = call("distill", "--resume", str(tmp_path / "stopped"))
    assert status == 0
    assert f"The run is in {tmp_path / 'stopped'}." in out
    assert [line["epoch"] for line in Run.open(tmp_path / "stopped").metrics()] == [1, 2, 3]
    status, _, err = call("distill", "--resume", str(tmp_path / "none"))
    assert (status, err.count("\n")) == (2, 1)


@pytest.mark.parametrize(
    ("flag", "value"),
    [("--epochs", "99"), ("--seed", "0"), ("--set", "kd.scale=2"), ("--out", "other"), ("--download", None)],
)
def test_resume_takes_no_other_settings(call, here, flag, value):
    run = distill(Recipe(**{**TINY, "epochs": 1}, method="ce"), here / "run")
    before = sorted(here.rglob("*"))
    status, out, err = call("distill", "--resume", "run", flag, *([value] if value else []))
    assert (status, out) == (2, "")
    assert err == (
        f"amkd-viz distill: --resume goes on with the settings of run, so {flag} would not count; leave it out, or "
        "train from one of its epochs with other settings by amkd_viz.runs.fork.\n"
    )
    assert sorted(here.rglob("*")) == before
    assert run.recipe.epochs == 1

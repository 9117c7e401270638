"""What every test shares: one thread for each parallel worker, no deadline, and teachers of this session only."""

import os

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # before torch, numpy or numba are imported: they read these once
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ.setdefault(name, "1")
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # as Cluster does before it imports Ray
os.environ.setdefault("RAY_worker_niceness", "0")  # else other programs starve Ray's workers

import torch

try:
    import hypothesis
except ImportError:  # a bare machine can still run the tests that do not need it
    pass
else:
    hypothesis.settings.register_profile("amkd_viz", deadline=None, print_blob=True)
    hypothesis.settings.load_profile("amkd_viz")


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """Keep the teachers that the tests train apart from the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AMKD_VIZ_CACHE", str(tmp_path_factory.getbasetemp() / "teachers-of-the-session"))
        yield


@pytest.fixture(scope="module")
def checkpoint_each_epoch():
    """Write a checkpoint at the end of every epoch, however short: the tests' epochs take milliseconds."""
    from amkd_viz.runs import run

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "EPOCH_SECONDS", 0.0)
        yield


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Start Ray with two workers once for a module, in the environment that the module's other fixtures have set."""
    import ray

    from amkd_viz.runs import cluster

    made = cluster.Cluster(jobs=2)
    made.connect(tmp_path_factory.mktemp("first"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster, "LOOK", 0.02)
        yield made
    ray.shutdown()


@pytest.fixture(scope="module")
def opened(request, tmp_path_factory):
    """Open a page of a real JupyterLab in which the module's ``CELL`` has run, and ``begin`` has waited for it."""
    from tests.lab import panel_page

    with panel_page(tmp_path_factory.mktemp("lab"), request.module.CELL, request.module.begin) as made:
        yield made


@pytest.fixture
def notebook(opened, request):
    """Return that page, begun anew for a test that is rerun after a failure."""
    if getattr(request.node, "execution_count", 1) > 1:
        request.module.begin(opened)
    return opened


@pytest.fixture(autouse=True)
def seeded():
    """Let a test that makes a net without a seed make the same one each time."""
    torch.manual_seed(0)


@pytest.fixture
def call(capsys):
    """Run one command of the command line, and return its exit status, stdout and stderr."""
    from amkd_viz.cli import main

    def run(*words):
        try:
            status = main([str(word) for word in words])
        except SystemExit as stop:
            status = stop.code
        return status, *capsys.readouterr()

    return run


def pytest_collection_modifyitems(config, items):
    """On a busy machine a browser, or several processes, get a second chance; the summary tells it, and two are all."""
    if config.pluginmanager.hasplugin("rerunfailures"):
        for item in items:
            if item.get_closest_marker("browser") or item.get_closest_marker("processes"):
                item.add_marker(pytest.mark.flaky(reruns=1))

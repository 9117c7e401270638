"""A run is a folder; every writer and every reader uses the same files.

config.json          the recipe, versions, device, what tells its teacher from another
metrics.jsonl        one object a line, appended
student.safetensors  the student of the last epoch; peer.safetensors a peer that learned with it
checkpoints/         the last two states of training, each with its checksum
snapshots/           the student after each epoch, for looking back
summary.json         last-epoch numbers; its presence says that the run is finished
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import re
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from amkd_viz.core.errors import InputError
from amkd_viz.core.files import append_line, check_writable, claim, files_below, readable, write_atomic
from amkd_viz.core.version import __version__
from amkd_viz.data import Dataset, load
from amkd_viz.models import Classifier, load_teacher, save_classifier
from amkd_viz.runs.follow import Follower, locked
from amkd_viz.training.device import pick_device, pick_precision
from amkd_viz.training.prepare import teacher_for
from amkd_viz.training.recipe import Recipe, renamed
from amkd_viz.training.teachers import fingerprint
from amkd_viz.training.training import changed

__all__ = ["Run"]

FORMAT = 1
KEEP_CHECKPOINTS = 2
SNAPSHOT_MB = 200
SNAPSHOT = re.compile(r"((?P<net>\w+)-)?epoch-(?P<epoch>[0-9]+)\.safetensors")


class Run:
    """One distillation on disk: only JSON, safetensors, and checkpoints that load with ``weights_only=True``."""

    def __init__(self, path: Path, config: dict[str, Any]) -> None:
        self.path = path
        self.config = config
        self.recipe = Recipe.from_json(config["recipe"])

    def __repr__(self) -> str:
        state = "finished" if self.finished else f"{self.epochs_done} of {self.recipe.epochs} epochs"
        return f"Run({self.label}: {state}, {self.path})"

    @classmethod
    def create(
        cls,
        path: str | Path,
        recipe: Recipe,
        parent: dict[str, Any] | None = None,
        teacher: str = "",
        replay_of: Run | None = None,
    ) -> Run:
        """Start a run in a new or empty folder.

        Args:
            parent: recorded where the run is a fork. teacher: its ``fingerprint``, where it is known by now.
            replay_of: recorded where the run is a replay.

        Raises:
            InputError: the folder holds something already (it is left as it is), another process has taken it this
                moment, or it cannot be written.
        """
        path = Path(path)
        check_writable(claim(path))
        config = {
            "format": FORMAT,
            "recipe": recipe.to_json(),
            "folder": str(Path.cwd()),  # what relative paths of the recipe are relative to
            "objective": str(recipe.objective),
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "versions": versions(recipe.device, recipe.precision),
            **({"teacher_weights": teacher} if teacher else {}),
            **({"parent": parent} if parent else {}),
            **({"replay_of": str(replay_of.path.resolve())} if replay_of else {}),
        }
        write_atomic(path / "config.json", json.dumps(config, indent=2) + "\n", new=True)
        return cls(path, config)

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Open an existing run, finished or not.

        Raises:
            InputError: no run there, one that cannot be read, or one of another format.
        """
        path = Path(path)
        try:
            with readable(path / "config.json"):
                if not (path / "config.json").exists():
                    raise InputError(f"There is no run in {path}: it has no config.json.")
                config = json.loads((path / "config.json").read_text(encoding="utf-8"))
            if config["format"] != FORMAT:
                raise InputError(f"{path} has run format {config['format']}, but this version reads {FORMAT}.")
            if not isinstance(config.get("parent", {"epoch": 0})["epoch"], int):
                raise TypeError("its parent's epoch is not a number")
            return cls(path, config)
        except (KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise InputError(f"{path / 'config.json'} is damaged ({error}); the run cannot be opened.") from error

    # what it holds

    @property
    def label(self) -> str:
        return f"{self.recipe.dataset} {self.recipe.method} seed {self.recipe.seed}"

    @property
    def objective(self) -> str:
        """The sum that the run was trained with, as text: a registered method may stand for another one by now."""
        known = self.config.get("objective") or self.recipe.objective
        return str(known).replace("(reading=", "(variant=")  # its name in earlier versions

    @property
    def finished(self) -> bool:
        return (self.path / "summary.json").exists()

    @property
    def summary(self) -> dict[str, Any]:
        """The last-epoch numbers, test accuracy first.

        Raises:
            InputError: the run is not finished, or the file is damaged or cannot be read.
        """
        if not self.finished:
            raise InputError(f"The run {self.path} is not finished: it has no summary yet.")
        path = self.path / "summary.json"
        with readable(path):
            content = path.read_bytes()
        try:
            found = dict(json.loads(content))
        except (ValueError, TypeError) as error:
            raise InputError(
                f"{path} is damaged ({error}); delete it and resume the run, which writes it again."
            ) from error
        return found

    @property
    def epochs_done(self) -> int:
        """Number of finished epochs; those before a fork count."""
        return max((line["epoch"] for line in self.metrics()), default=self.config.get("parent", {}).get("epoch", 0))

    def lines(self) -> list[dict[str, Any]]:
        """Return every complete line of metrics.jsonl; a damaged line becomes a note."""
        return self.follow().poll()

    def metrics(self) -> list[dict[str, Any]]:
        """Return the epochs so far, one dict each."""
        return [line for line in self.lines() if line.get("kind", "epoch") == "epoch"]

    def interventions(self, all_of_them: bool = False) -> list[dict[str, Any]]:
        """Return the overrides made while training: epoch and batch (both from 0) and the settings.

        Raises:
            InputError: ``all_of_them`` are asked for, but a line of the log is damaged, and may have been one.
        """
        lines = self.lines()
        damaged = [line["text"] for line in lines if "damaged" in line] if all_of_them else []
        if damaged:
            raise InputError(
                f"{damaged[0]} It may have held a change made by hand; mend it, or take it out of the file."
            )
        return [line for line in lines if line.get("kind") == "intervention"]

    def recipe_after(self, epoch: int) -> Recipe:
        """Return the recipe with all overrides made during the first ``epoch`` epochs.

        Raises:
            InputError: see ``interventions``.
        """
        recipe = self.recipe
        for line in self.interventions(all_of_them=True):
            if line["epoch"] < epoch:
                recipe = changed(recipe, renamed(line["changes"]))
        return recipe

    def follow(self) -> Follower:
        """Return a follower that reads new lines while another process or thread writes the run."""
        return Follower(self.path / "metrics.jsonl")

    def student(self, epoch: int | None = None) -> Classifier:
        """Return the student of the last epoch, or its snapshot after ``epoch`` (0: before training).

        Raises:
            InputError: the run is not finished, there is no such snapshot, or the file is damaged.
        """
        kept = ", ".join(map(str, self.snapshots())) or "none"
        if epoch is None:
            if not self.finished:
                raise InputError(f"The run {self.path} is not finished, so it has no student; its snapshots: {kept}.")
            path = self.path / "student.safetensors"
            if not path.exists():
                summary = self.path / "summary.json"
                raise InputError(f"{path} is missing; delete {summary} and resume the run, which writes both again.")
            return load_teacher(path)
        if epoch not in self.snapshots():
            raise InputError(f"The run {self.path} has no snapshot of epoch {epoch}; it has: {kept}.")
        return load_teacher(self._snapshot(epoch))

    def net(self, name: str, epoch: int | None = None) -> Classifier:
        """Return a net that learned: "student", or a peer ("peer", "peer2"), at the end or after ``epoch``.

        Raises:
            InputError: see ``student``; or the recipe has no such peer.
        """
        if name == "student":
            return self.student(epoch)
        path = self.path / f"{name}.safetensors" if epoch is None else self._snapshot(epoch, name)
        if not path.exists():
            raise InputError(f"The run {self.path} has no {name} {'yet' if epoch is None else f'of epoch {epoch}'}.")
        return load_teacher(path)

    def has_net(self, name: str, epoch: int) -> bool:
        """Return whether there is a snapshot of a net after ``epoch``."""
        return self._snapshot(epoch, name).exists()

    def snapshots(self) -> list[int]:
        """Return the epochs for which ``student(epoch)`` has a snapshot."""
        names = (SNAPSHOT.fullmatch(path.name) for path in self._snapshot_files())
        return sorted({int(name["epoch"]) for name in names if name and not name["net"]})

    def teacher(self) -> Classifier:
        """Return the recipe's teacher from its file or the cache; train it again if the cache has lost it.

        Warns where it is not the one that this run was trained with.
        """
        teacher = teacher_for(self.located())
        if (told := self.compare_teacher(fingerprint(teacher))) is not None:
            warnings.warn(told, stacklevel=2)
        return teacher

    def compare_teacher(self, weights: str) -> str | None:
        """Return a sentence if this is not the ``teachers.fingerprint`` of the teacher that it was trained with."""
        known = self.config.get("teacher_weights", weights)
        if weights == known:
            return None
        return (
            f"The teacher of {self.path} is not the one that it was trained with (weights {weights}, then {known}): "
            "its file has changed, or the cached one was trained again."
        )

    def dataset(self) -> Dataset:
        """Return the data that the student saw, ``num_train`` applied."""
        recipe = self.located()
        full = load(recipe.dataset, root=recipe.root, seed=recipe.data_seed)
        return full.limit(recipe.num_train, recipe.data_seed) if recipe.num_train else full

    def located(self, recipe: Recipe | None = None) -> Recipe:
        """Return ``recipe`` (default: the run's own) with relative paths that can be found from here.

        A path that does not exist here is looked up in the folder where the run was made.
        """
        recipe, kind = recipe or self.recipe, "folder:"
        folder = recipe.dataset.removeprefix(kind)
        return recipe.replace(
            dataset=recipe.dataset if folder == recipe.dataset else kind + self._found(folder),
            root=recipe.root and self._found(recipe.root),
            teacher="+".join(self._found(n) if n.endswith(".safetensors") else n for n in recipe.teachers),
        )

    def _found(self, path: str) -> str:
        there = Path(self.config.get("folder", "."), path)
        return str(there) if not Path(path).exists() and there.exists() else path

    # writing

    def know_teacher(self, weights: str) -> None:
        """Record the teacher's fingerprint; if one is recorded already, note a difference."""
        if "teacher_weights" not in self.config:
            self.config["teacher_weights"] = weights
            write_atomic(self.path / "config.json", json.dumps(self.config, indent=2) + "\n")
        elif (told := self.compare_teacher(weights)) is not None:
            self.log({"kind": "note", "text": told})

    def log(self, line: dict[str, Any]) -> None:
        """Append one object to metrics.jsonl; numbers that are not finite become null."""
        append_line(self.path / "metrics.jsonl", json.dumps(_finite(line)))

    def save_snapshot(self, nets: Mapping[str, Classifier], epoch: int) -> None:
        """Keep the learning nets, by name, as they are after ``epoch``."""
        for name, net in nets.items():
            save_classifier(net, self._snapshot(epoch, name), epoch=epoch)
        self.thin_snapshots()

    def _snapshot(self, epoch: int, net: str = "student") -> Path:
        return self.path / "snapshots" / f"{'' if net == 'student' else f'{net}-'}epoch-{epoch:04d}.safetensors"

    def _snapshot_files(self) -> list[Path]:
        """Return the files of all nets; a person may keep others beside them."""
        folder = self.path / "snapshots"
        return [path for path in files_below(folder) if path.parent == folder and SNAPSHOT.fullmatch(path.name)]

    def thin_snapshots(self) -> None:
        """Drop snapshots until they fit SNAPSHOT_MB: the first and the last stay, the others at an even spread."""
        files: dict[int, list[Path]] = {}
        for path in self._snapshot_files():
            files.setdefault(int(path.stem.rpartition("-")[2]), []).append(path)
        sizes = {epoch: sum(path.stat().st_size for path in files[epoch]) for epoch in sorted(files)}
        while len(sizes) > 2 and sum(sizes.values()) > SNAPSHOT_MB * 2**20:
            # the one whose neighbours are closest to one another leaves the smallest gap
            gaps = {b: c - a for a, b, c in zip(sizes, [*sizes][1:], [*sizes][2:], strict=False)}
            dropped = min(gaps, key=lambda epoch: (gaps[epoch], epoch))
            del sizes[dropped]
            for path in files[dropped]:
                path.unlink()

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        """Write the state of training between two batches, with a checksum; keep the last two."""
        buffer = io.BytesIO()
        torch.save(state, buffer)
        folder, content = self.path / "checkpoints", buffer.getvalue()
        name = f"epoch-{state['epoch']:04d}" + (f"-{state['batch']:06d}" if state.get("batch") else "")
        write_atomic(folder / f"{name}.pt", content)
        write_atomic(folder / f"{name}.sha256", hashlib.sha256(content).hexdigest() + "\n")
        for old in self._checkpoints()[:-KEEP_CHECKPOINTS]:
            old.with_suffix(".sha256").unlink(missing_ok=True)
            old.unlink()

    def load_checkpoint(self) -> dict[str, Any] | None:
        """Return the newest intact checkpoint, or None. It is loaded with ``weights_only=True``: tensors, no code.

        A note in metrics.jsonl says which ones were damaged, and from where training goes on instead.

        Raises:
            InputError: a checkpoint cannot be read (it may be whole), or a file with a right checksum holds something
                else than tensors and numbers.
        """
        damaged: list[str] = []
        for path in reversed(self._checkpoints()):
            with readable(path):
                content, checksum = path.read_bytes(), path.with_suffix(".sha256")
                told = checksum.read_text().strip() if checksum.exists() else None
            if told == hashlib.sha256(content).hexdigest():
                try:
                    state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
                except Exception as error:  # whatever a hostile file makes torch raise
                    raise InputError(
                        f"{path} is not a checkpoint of this library: it holds more than tensors and numbers and "
                        "was not loaded; delete it to go back to the one before."
                    ) from error
                self._note_damaged(damaged, f"going back to {path.name}")
                return state
            damaged.append(path.name)
        parent = self.config.get("parent")
        start = f"its parent's student after epoch {parent['epoch']}" if parent else "the first batch"
        self._note_damaged(damaged, f"no checkpoint is whole, so training starts again from {start}")
        return None

    def _note_damaged(self, names: list[str], then: str) -> None:
        if names:
            verb = "is" if len(names) == 1 else "are"
            self.log({"kind": "note", "text": f"{' and '.join(names)} {verb} damaged; {then}."})

    def _checkpoints(self) -> list[Path]:
        """Return the checkpoints, sorted by epoch and batch as numbers."""
        files = [path for path in files_below(self.path / "checkpoints") if path.match("checkpoints/epoch-*.pt")]
        return sorted(files, key=lambda path: [int(part) for part in re.findall(r"\d+", path.stem)])

    def rewind(self, epoch: int, batch: int) -> list[dict[str, Any]]:
        """Remove the lines of metrics.jsonl that were written after batch ``batch`` of ``epoch`` (both from 0).

        Returns:
            the overrides among them, to be made again at the same batches.
        """
        kept: list[dict[str, Any]] = []
        undone: list[dict[str, Any]] = []
        for line in self.lines():
            kind = line.get("kind", "epoch")
            late = kind == "epoch" and line["epoch"] > epoch
            late |= kind == "intervention" and (line["epoch"], line["batch"]) >= (epoch, batch)
            (undone if late else kept).append(line)
        if undone:
            write_atomic(self.path / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in kept))
        return [line for line in undone if line.get("kind") == "intervention"]

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the write lock of the run. The lock is released when the process ends, however it ends.

        Raises:
            InputError: another writer has the run; its process id is in the sentence.
        """
        with locked(self.path / "lock", f"The run {self.path}"):
            log = self.path / "metrics.jsonl"
            with readable(log):
                content = log.read_bytes() if log.exists() else b""
            if not content.endswith(b"\n") and content:  # of a writer that was killed: the next line would join it
                write_atomic(log, content[: content.rfind(b"\n") + 1])
            yield

    def finish(self, nets: Mapping[str, Classifier], summary: dict[str, Any]) -> None:
        """Write the nets that learned, by name, then the summary."""
        for name, net in nets.items():
            save_classifier(net, self.path / f"{name}.safetensors", recipe=self.recipe.to_json())
        about = {
            "recipe": self.recipe.hash,
            "versions": versions(self.recipe.device, self.recipe.precision),
            "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        }
        write_atomic(self.path / "summary.json", json.dumps(_finite({**summary, **about}), indent=2) + "\n")


def versions(device_name: str = "auto", precision: str | None = None) -> dict[str, str]:
    """Return what a number depends on besides the recipe: versions, the device and what ``precision`` means there."""
    where = pick_device(device_name)
    device = torch.cuda.get_device_name(where) if where.type == "cuda" else f"{platform.machine()} {where.type.upper()}"
    found = {"amkd_viz": __version__, "python": platform.python_version(), "torch": torch.__version__, "device": device}
    return found | ({"precision": pick_precision(precision, where.type)[0]} if precision else {})


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        return None
    return value

"""A run is a folder; every writer and every reader uses the same files.

config.json          the recipe, versions, device, what tells its teacher and its data from others
metrics.jsonl        one object a line, appended
student.safetensors  the student of the last epoch; peer.safetensors a peer that learned with it
checkpoints/         the last two states of training, each with its checksum
snapshots/           the student after each epoch, of 100 epochs at most, for looking back
summary.json         last-epoch numbers; its presence says that the run is finished
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import platform
import re
import textwrap
import time
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from amkd_viz.core.errors import InputError
from amkd_viz.core.files import address, append_line, check_writable, claim, files_below, readable, write_atomic
from amkd_viz.core.locks import held
from amkd_viz.core.parse import NUMBER, SHARE, Between, checked, read
from amkd_viz.core.pauses import pause_point
from amkd_viz.core.ranks import RankLost, joined
from amkd_viz.core.version import __version__
from amkd_viz.data import Dataset, moved, parse_name, with_size
from amkd_viz.models import Classifier, load_teacher, save_classifier
from amkd_viz.runs.follow import EPOCHS, Follower, Held, locked
from amkd_viz.runs.remote import nearby, origin
from amkd_viz.runs.teacher_check import in_order
from amkd_viz.training.device import pick_device, pick_precision, tf32_use
from amkd_viz.training.events import Changed, EpochEnded, Event, Finished, Started, Stepped, Waiting
from amkd_viz.training.loop import events
from amkd_viz.training.recipe import Recipe, renamed
from amkd_viz.training.step_size import fixed, is_auto
from amkd_viz.training.teachers import cached_teacher, fingerprint, teacher_recipe
from amkd_viz.training.training import Training, changed, finite, numbered

__all__ = ["Listener", "Run", "finished_run", "follow_rank", "teacher_for"]

FORMAT = 1
KEEP_CHECKPOINTS = 2
CHECKPOINT_SECONDS = 60.0  # between two checkpoints within an epoch
EPOCH_SECONDS = 0.5  # between two checkpoints at the ends of epochs: short epochs took less time than writing them
SNAPSHOTS = 100  # longer runs keep every second epoch, every third ..., and the last
SNAPSHOT_MB = 200
LOOK = 0.2  # seconds between two looks at a run that another process writes
# What is read of them; other keys are kept as they are.
VERSIONS = {str: (None, NUMBER, str)}
CONFIG = {
    "recipe": dict,
    "folder?": str,
    "source?": str,
    "objective?": str,
    "teacher_weights?": str,
    "data?": str,
    "classes?": [str],
    "replay_of?": str,
    "step_size?": Between(1e-3, 10),
    "versions?": VERSIONS,
    "parent?": {"epoch": EPOCHS, "path": str, "recipe?": str},
}
CHECKPOINT = {
    "batch?": range(2**31),
    "seconds?": Between(0),
    "changes?": dict,
    "log?": {"sums": {str: {str: torch.Tensor}}, "counts": {str: range(1, 2**31)}},
    "student": dict,
    "nets?": {str: dict},
    "modules?": dict,
    "optimiser?": dict,
    "order?": {str: torch.Tensor},
}
SUMMARY = {
    **{
        f"{key}?": (None, SHARE)
        for key in (
            "test_accuracy",
            "test_balanced_accuracy",
            "test_agreement",
            "val_accuracy",
            "teacher_test_accuracy",
        )
    },
    "test_class_accuracies?": [(None, SHARE)],
    **{f"{key}?": (None, Between(-1.01, 1.01)) for key in ("magsim", "angsim")},
    "train_seconds?": (None, Between(0)),
    "versions?": VERSIONS,
}
SNAPSHOT = re.compile(r"((?P<net>\w+)-)?epoch-(?P<epoch>[0-9]+)\.safetensors")
Listener = Callable[[Event], None]


class Run:
    """One distillation on disk: only JSON, safetensors, and checkpoints that load with ``weights_only=True``."""

    def __init__(self, path: Path, config: dict[str, Any]) -> None:
        self.path = path
        self.config = config
        self.recipe = Recipe.from_json(config["recipe"])
        self._sizes: dict[int, dict[Path, int]] | None = None  # epoch -> snapshot files and their bytes
        self._lines: tuple[object, list[dict[str, Any]]] = (
            None,
            [],
        )  # state of the log when it was read, and its lines

    def __repr__(self) -> str:
        state = "finished" if self.finished else f"{self.epochs_done} of {self.recipe.epochs} epochs"
        return f"Run({self.label}: {state}, {self.path})"

    @classmethod
    def create(
        cls,
        path: str | Path,
        recipe: Recipe,
        parent: dict[str, Any] | None = None,
        training: Training | None = None,
        replay_of: Run | None = None,
    ) -> Run:
        """Start a run in a new or empty folder.

        Args:
            parent: recorded where the run is a fork.
            training: tells teacher and data of the run, where they are loaded by now.
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
            # what relative paths of the recipe are relative to
            "folder": str(Path.cwd()).encode(errors="replace").decode(),
            "source": recipe.source,
            "objective": str(recipe.objective),
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "versions": versions(recipe.device, recipe),
            **(_facts(training) if training else {}),
            **({"parent": parent} if parent else {}),
            **({"replay_of": str(replay_of.path.resolve())} if replay_of else {}),
        }
        write_atomic(path / "config.json", json.dumps(config, indent=2) + "\n", new=True)
        return cls(path, config)

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Open an existing run, finished or not. At a URL: the copy of it that this machine then has.

        Raises:
            InputError: no run there, one that cannot be read, or one of another format.
        """
        asked, path = address(path) or path, nearby(path)
        file = path / "config.json"
        with readable(file):
            if not file.exists():
                raise InputError(f"There is no run in {asked}: it has no config.json.")
        config = read(file, "run", CONFIG, format=FORMAT)
        try:
            return cls(path, config)
        except InputError as error:
            raise InputError(f"{file} is not a valid run: {error}") from error

    # what it holds

    @property
    def label(self) -> str:
        return f"{self.recipe.dataset} {self.recipe.method} seed {self.recipe.seed}"

    @property
    def settled(self) -> Recipe:
        """The recipe with the step size that was measured where it says "auto", once training has begun."""
        known = self.config.get("step_size")
        return self.recipe if known is None else fixed(self.recipe, known)

    @property
    def objective(self) -> str:
        """The sum that the run was trained with, as text: a registered method may stand for another one by now."""
        known = self.config.get("objective") or self.recipe.objective
        return str(known).replace("(reading=", "(variant=")  # its name in earlier versions

    @property
    def finished(self) -> bool:
        return (self.path / "summary.json").exists()

    @property
    def held(self) -> bool:
        """Whether a writer has the run now, in this process or another; False where there are no locks."""
        return held(self.path / "lock")

    @property
    def summary(self) -> dict[str, Any]:
        """The last-epoch numbers, test accuracy first.

        Raises:
            InputError: the run is not finished, or the file is damaged or cannot be read.
        """
        if not self.finished:
            raise InputError(f"The run {self.path} is not finished: it has no summary yet.")
        repair = "delete it and resume the run, which writes it again"
        found: dict[str, Any] = read(self.path / "summary.json", "summary", SUMMARY, repair=repair)
        return found

    @property
    def epochs_done(self) -> int:
        """Number of finished epochs; those before a fork count."""
        return max((line["epoch"] for line in self.metrics()), default=self.config.get("parent", {}).get("epoch", 0))

    def lines(self) -> list[dict[str, Any]]:
        """Return every complete line of metrics.jsonl; a damaged line becomes a note."""
        try:
            about = (self.path / "metrics.jsonl").stat()
        except OSError:
            return self.follow().poll()
        state, lines = self._lines
        if state != (about.st_ino, about.st_size, about.st_mtime_ns):  # a report asks seven times
            lines = self.follow().poll()
            self._lines = (about.st_ino, about.st_size, about.st_mtime_ns), lines
        return list(lines)

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
        return self.follow_at(self.path)

    @staticmethod
    def follow_at(path: Path) -> Follower:
        """Return a follower of the run that will be in this folder."""
        return Follower(path / "metrics.jsonl")

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
        epochs = {int(name["epoch"]) for name in names if name and not name["net"]}
        return sorted(epoch for epoch in epochs if epoch in EPOCHS)

    def teacher(self) -> Classifier:
        """Return the recipe's teacher from its file or the cache; train it again if the cache has lost it.

        Warns where it is not the one that this run was trained with.

        Raises:
            InputError: the run has no teacher; see also ``teacher_for``.
        """
        teacher = teacher_for(self.located(), classes=self.config.get("classes"))
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
        """Return the data that the student saw, see ``Recipe.subset``."""
        recipe = self.located()
        return recipe.subset(recipe.load())

    def located(self, recipe: Recipe | None = None) -> Recipe:
        """Return ``recipe`` (default: the run's own) with relative paths that can be found from here.

        A path that does not exist here is looked up in the folder where the run was made.
        """
        recipe = recipe or self.recipe
        own = recipe.dataset == self.recipe.dataset
        return recipe.replace(
            dataset=moved(with_size(recipe.dataset, self._size) if own else recipe.dataset, self._found),
            root=recipe.root and self._found(recipe.root),
            teacher="+".join(self._found(n) if n.endswith(".safetensors") else n for n in recipe.teachers),
        )

    @property
    def _size(self) -> int:
        """The height of the images, which earlier versions read at 64 pixels where no size was given."""
        return int(parse_name(self.config.get("source", ""))[1].get("size", 64)) if "source" in self.config else 64

    def _found(self, path: str) -> str:
        there = Path(self.config.get("folder", "."), path)
        with readable(there):
            return str(there) if not Path(path).exists() and there.exists() else path

    # writing

    def train(
        self,
        prepared: Callable[[], Training],
        planned: Iterable[Changed] = (),
        snapshots: bool = True,
        overrides: Mapping[str, Any] | None = None,
    ) -> Iterator[Event]:
        """Train from the newest intact checkpoint, else from the start; yield the events, each written first.

        Args:
            prepared: returns the training of the recipe; called once the run is locked.
            planned: see ``events``; those that the log has after the checkpoint are made again too.
            snapshots: keep the nets of each epoch, of ``SNAPSHOTS`` epochs at most.
            overrides: settings from the first batch on, see ``Training.override``; the log records them.

        Raises:
            Held: another process or thread writes the run.
            InputError: the method, the data or the checkpoint is not that of this run; or see ``events``.
        """
        self.check_objective()
        with self.writing():
            training = prepared()
            self.check_data(training.full)
            if (size := self.config.get("step_size")) is not None:  # another processor may measure another one
                training.settle(size)
            state = self.load_checkpoint()
            if state is not None:
                self._note_versions()
            elif "parent" in self.config:
                state = self.inherited()
            if state is not None:
                try:
                    training.restore(state)
                except (LookupError, AttributeError, RuntimeError, TypeError, ValueError) as error:
                    why = " ".join(str(error).split())[:200]
                    raise InputError(
                        f"The newest checkpoint of {self.path} does not fit its recipe ({why}); the data have changed, "
                        "or it is another run's: start a new run."
                    ) from error
            if overrides:
                training.override(**overrides)
            undone = self.rewind(training.epoch, training.batch)
            planned = [*planned, *changes_in(undone)]
            if training.ranks.count > 1:
                _hand_over(training, state, planned, overrides)
            try:
                yield from self._record(training, planned, snapshots)
            except RankLost as error:
                self.save_checkpoint(training.state())
                place = f"epoch {training.epoch}, batch {training.batch}"
                raise RankLost(f"{error} The run {self.path} has a checkpoint of {place}; resume it.") from error

    def _record(self, training: Training, planned: Iterable[Changed], snapshots: bool) -> Iterator[Event]:
        every = math.ceil(self.recipe.epochs / SNAPSHOTS)
        saved, noted = time.monotonic(), {line.get("text") for line in self.lines()}  # a run that goes on has its notes
        for event in events(training, planned):
            for note in training.notes:
                if note not in noted:
                    self.log({"kind": "note", "text": note})
                    noted.add(note)
            match event:
                case Started():
                    self._know(training)
                    if snapshots and training.batch == 0 and training.epoch not in self.snapshots():
                        self.save_snapshot(training.learning, training.epoch)
                case Changed(epoch, batch, changes):
                    self.log({"kind": "intervention", "epoch": epoch, "batch": batch, "changes": changes})
                case Stepped() if time.monotonic() - saved > CHECKPOINT_SECONDS:
                    self.save_checkpoint(training.state())
                    saved = time.monotonic()
                case EpochEnded(epoch, metrics):
                    step = epoch * len(training.loader)  # a fork's parent counts as if it had had the same batches
                    self.log({"kind": "epoch", "epoch": epoch, "step": step, **metrics})
                    if time.monotonic() - saved >= EPOCH_SECONDS or epoch == self.recipe.epochs:
                        self.save_checkpoint(training.state())
                        saved = time.monotonic()
                    if snapshots and (epoch % every == 0 or epoch == self.recipe.epochs):
                        self.save_snapshot(training.learning, epoch)
                case Finished(summary):
                    self.finish(training.learning, summary)
            yield event

    def inherited(self) -> dict[str, Any]:
        """Return the state that a fork starts from: its parent's nets, which it keeps as snapshots."""
        epoch = self.config["parent"]["epoch"]
        peers = [name for name in numbered("peer", self.recipe.peers) if self.has_net(name, epoch)]
        nets = {name: self.net(name, epoch).state_dict() for name in peers}
        return {"epoch": epoch, "student": self.student(epoch).state_dict(), "nets": nets}

    def check_objective(self) -> None:
        """Refuse a run whose registered method now stands for another sum."""
        now, then = str(self.recipe.objective), self.objective
        if now != then:
            raise InputError(
                f"The run {self.path} was trained with {then}, but its method {self.recipe.method!r} now is {now}; "
                "register the sum that it was, or start a new run."
            )

    def check_data(self, full: Dataset) -> None:
        """Refuse data, before ``num_train`` is applied, that are not those of the run; earlier versions recorded none.

        Raises:
            InputError: other classes, labels or images.
        """
        if self.config.get("data") in (None, full.fingerprint):
            return
        why = "its images or labels have changed"
        if self.config.get("classes") != list(full.classes):
            why = f"its classes now are {textwrap.shorten(', '.join(full.classes), 100)}"
        raise InputError(
            f"{full.name} is not the data set that {self.path} was trained on: {why}; restore it, or start a new run."
        )

    def _know(self, training: Training) -> None:
        """Record what tells teacher and data from others; note another teacher."""
        facts = _facts(training)
        if facts.keys() - self.config:
            self.config = facts | self.config
            write_atomic(self.path / "config.json", json.dumps(self.config, indent=2) + "\n")
        if (difference := self.compare_teacher(training.teacher_weights)) is not None:
            self.note(difference)

    def _note_versions(self) -> None:
        """Note what differs from the machine on which the run was begun."""
        one = {"ranks": "1"}
        then, now = one | self.config.get("versions", {}), one | versions(self.recipe.device, self.recipe)
        apart = [name for name in now if name != "python" and then.get(name, now[name]) != now[name]]
        if apart:
            words = ", ".join(f"{name} {now[name]} (begun with {then[name]})" for name in apart)
            self.note(f"The run goes on with {words}: its student may not be bit-identical to one trained in one go.")

    def note(self, text: str) -> None:
        """Log a note for a person, once."""
        if text not in [line.get("text") for line in self.lines()]:
            self.log({"kind": "note", "text": text})

    def log(self, line: dict[str, Any]) -> None:
        """Append one object to metrics.jsonl; numbers that are not finite become null."""
        append_line(self.path / "metrics.jsonl", json.dumps(_finite(line)))

    def save_snapshot(self, nets: Mapping[str, Classifier], epoch: int) -> None:
        """Keep the learning nets, by name, as they are after ``epoch``."""
        files = [
            save_classifier(net, self._snapshot(epoch, name), flush=False, epoch=epoch) for name, net in nets.items()
        ]
        if self._sizes is None:  # of this writer; listing the folder once per epoch took as long as training
            self._sizes = {}
            for path in self._snapshot_files():
                self._sizes.setdefault(int(path.stem.rpartition("-")[2]), {})[path] = path.stat().st_size
        self._sizes[epoch] = self._sizes.get(epoch, {}) | {path: path.stat().st_size for path in files}
        self._thin_snapshots(self._sizes)

    def _snapshot(self, epoch: int, net: str = "student") -> Path:
        return self.path / "snapshots" / f"{'' if net == 'student' else f'{net}-'}epoch-{epoch:04d}.safetensors"

    def _snapshot_files(self) -> list[Path]:
        """Return the files of all nets; a person may keep others beside them."""
        folder = self.path / "snapshots"
        return [path for path in files_below(folder) if path.parent == folder and SNAPSHOT.fullmatch(path.name)]

    @staticmethod
    def _thin_snapshots(sizes: dict[int, dict[Path, int]]) -> None:
        """Drop snapshots until they fit SNAPSHOT_MB: the first and the last stay, the others at an even spread."""
        while len(sizes) > 2 and sum(sum(files.values()) for files in sizes.values()) > SNAPSHOT_MB * 2**20:
            epochs = sorted(sizes)
            # the one whose neighbours are closest to one another leaves the smallest gap
            gaps = {b: c - a for a, b, c in zip(epochs, epochs[1:], epochs[2:], strict=False)}
            for path in sizes.pop(min(gaps, key=lambda epoch: (gaps[epoch], epoch))):
                path.unlink(missing_ok=True)

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
                recorded = checksum.read_bytes().strip() if checksum.is_file() else None
            if recorded == hashlib.sha256(content).hexdigest().encode():
                try:
                    with zipfile.ZipFile(io.BytesIO(content)) as parts:
                        if sum(part.file_size for part in parts.infolist()) > len(content):
                            raise ValueError("it unpacks to more than its size")
                    state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
                    checked(state, CHECKPOINT | {"epoch": range(self.recipe.epochs + 1)})
                except Exception as error:  # whatever a hostile file makes torch raise
                    raise InputError(
                        f"{path} is not a checkpoint of this library: it holds more than tensors and numbers and "
                        "was not loaded; delete it to go back to the one before."
                    ) from error
                if finite([state.get(part) for part in ("student", "nets", "modules", "optimiser")]):
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
            InputError: another writer has the run; its process id is in the sentence. Or it is a copy of another one.
        """
        if (url := origin(self.path)) is not None:
            raise InputError(f"{self.path} is a copy of {url}; the command that began that run goes on with it.")
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
            facts = {"classes": self.config["classes"]} if "classes" in self.config else {}
            save_classifier(net, self.path / f"{name}.safetensors", recipe=self.recipe.to_json(), **facts)
        about = {
            "notes": [line.get("text") for line in self.lines() if line.get("kind") == "note"],
            "recipe": self.recipe.hash,
            "versions": versions(self.recipe.device, self.recipe),
            "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        }
        write_atomic(self.path / "summary.json", json.dumps(_finite({**summary, **about}), indent=2) + "\n")


def _hand_over(
    training: Training, state: dict[str, Any] | None, planned: list[Changed], overrides: Mapping[str, Any] | None
) -> None:
    """Give the other ranks what rank 0 knows of a run beside its recipe."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    training.ranks.everyone(buffer.getvalue())
    training.ranks.each([[(c.epoch, c.batch, c.changes) for c in planned], dict(overrides or {})])


def follow_rank(prepared: Callable[[], Training]) -> None:
    """Train on another rank than the first, which alone writes the run."""
    training = prepared()
    content = training.ranks.everyone(b"")[0]
    state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    planned, overrides = training.ranks.each(None)[0]
    if state is not None:
        training.restore(state)
    if overrides:
        training.override(**overrides)
    for _ in events(training, [Changed(*change) for change in planned]):
        pass


def _facts(training: Training) -> dict[str, Any]:
    """Return what tells teacher and data of a training from others."""
    full, teacher = training.full, training.teacher_weights
    facts: dict[str, Any] = {"data": full.fingerprint, "classes": list(full.classes)}
    if is_auto(training.asked) and not is_auto(training.recipe):
        facts["step_size"] = training.boundary.sampler.step_size  # type: ignore[attr-defined]  # of bss
    return {"teacher_weights": teacher, **facts} if teacher else facts


def changes_in(lines: Iterable[dict[str, Any]]) -> list[Changed]:
    """Return the overrides that ``interventions`` are, to be made again."""
    return [Changed(line["epoch"], line["batch"], renamed(line["changes"])) for line in lines]


def finished_run(
    path: Path,
    recipe: Recipe,
    prepared: Callable[[], Training],
    listen: Listener | None = None,
    snapshots: bool = True,
) -> Run:
    """Return the finished run of ``recipe`` at ``path``; begin it or go on with it where it is not finished.

    While another process or thread trains it, wait for it, and go on with it if that one is killed.

    Args:
        prepared, snapshots: see ``Run.train``.
        listen: called with each event of the training, or with ``Waiting``; without it, waiting is a warning.
    """
    shown = ""
    while True:
        run = _begun(path, recipe)
        if run.finished:
            return run
        try:
            for event in run.train(prepared, snapshots=snapshots):
                if listen is not None:
                    listen(event)
        except Held as error:
            text = f"{str(error).partition(';')[0]}: waiting, {run.epochs_done} of {recipe.epochs} epochs are done."
            if listen is None and not shown:
                warnings.warn(text, stacklevel=3)
            elif listen is not None and text != shown:
                listen(Waiting(text))
            shown = text
            pause_point()
            time.sleep(LOOK)


def _begun(path: Path, recipe: Recipe) -> Run:
    """Open a run, or create it; another process may do so at this moment."""
    config = path / "config.json"
    if not config.exists():
        try:
            return Run.create(path, recipe)
        except InputError:
            if not config.exists():
                raise
    return Run.open(path)


def teacher_for(
    recipe: Recipe,
    listen: Listener | None = None,
    data: Dataset | None = None,
    place: int = 0,
    classes: Sequence[str] | None = None,
) -> Classifier:
    """Return a teacher of a recipe, in eval mode without gradients. One that has no file is a run in the user's cache,
    trained when it is first needed.

    Args:
        listen: called with the events of its training, and with ``Waiting`` while another process trains it.
        data: the recipe's data set without its limit, where it is loaded already.
        place: which of ``recipe.teachers``.
        classes: of the data set, by default those of ``data``: a file that names them in another order is reordered.

    Raises:
        InputError: the recipe has no such teacher, or its training fails.
    """
    if place >= len(recipe.teachers):
        raise InputError(f"teacher must name a net, got {recipe.teacher!r}: this is how a teacher itself is trained.")
    name = recipe.teachers[place]
    if name.endswith(".safetensors"):
        return in_order(load_teacher(name), classes if data is None else data.classes)
    own = teacher_recipe(recipe, place)

    def prepared() -> Training:
        full = own.load() if data is None else data
        return Training(own, full, {})

    return finished_run(cached_teacher(own, data), own, prepared, listen, snapshots=False).student()


def versions(device_name: str = "auto", recipe: Recipe | None = None) -> dict[str, str]:
    """Return what a number depends on: versions, the device and what precision and TF32 of ``recipe`` mean there."""
    where = pick_device(device_name)
    on_gpu = where.type == "cuda"
    device = torch.cuda.get_device_name(where) if on_gpu else f"{platform.machine()} {where.type.upper()}"
    found = {"amkd_viz": __version__, "python": platform.python_version(), "torch": torch.__version__, "device": device}
    if recipe is not None:
        found["precision"] = pick_precision(recipe.precision, str(where))[0]
        if on_gpu:
            found["tf32"] = tf32_use(recipe.tf32)
        if joined().count > 1:
            found["ranks"] = str(joined().count)
    return found


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        return None
    return value

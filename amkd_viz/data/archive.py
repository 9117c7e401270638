"""A folder of images in one .zip or .tar file: unpacked once, into the cache folder."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
import zipfile
from pathlib import Path

from amkd_viz.core.errors import InputError
from amkd_viz.core.files import explained, readable
from amkd_viz.data.shared import stamp
from amkd_viz.data.where import cache_folder

__all__ = ["is_archive", "unpacked"]

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


def is_archive(path: Path) -> bool:
    """Whether ``path`` is a file with the suffix of an archive that ``unpacked`` takes."""
    return path.name.lower().endswith(SUFFIXES) and path.is_file()


def unpacked(file: Path) -> Path:
    """Return the folder with the content of an archive, unpacked under the cache folder where it is not yet.

    Members that would land outside that folder are refused (tar) or moved inside it (zip).

    Raises:
        InputError: the archive is damaged or encrypted, is larger than the free space, or cannot be written.
    """
    place = cache_folder() / "unpacked" / stamp([file])
    if place.is_dir():
        return place
    with explained(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=".part-", dir=place.parent))
    try:
        _unpack(file, part)
        with explained(place):
            if not place.is_dir():  # another process may have been first
                part.rename(place)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return place


def _unpack(file: Path, place: Path) -> None:
    with readable(file):
        file.open("rb").close()
    try:
        with zipfile.ZipFile(file) if file.suffix.lower() == ".zip" else tarfile.open(file) as archive:
            if isinstance(archive, zipfile.ZipFile):
                size = sum(member.file_size for member in archive.infolist())
            else:
                size = sum(member.size for member in archive)
            free = shutil.disk_usage(place).free
            if size > free:
                raise InputError(
                    f"{file} needs {size / 1e9:,.3g} GB unpacked, {free / 1e9:,.3g} GB are free in {place.parent}; "
                    "free some space or set AMKD_VIZ_CACHE to another folder."
                )
            if isinstance(archive, zipfile.ZipFile):
                archive.extractall(place)
            else:
                archive.extractall(place, filter="data")
    except InputError:
        raise
    except Exception as error:  # whatever a damaged archive makes zipfile, tarfile or a decompressor raise
        why = " ".join(str(error).split())[:120]
        raise InputError(f"{file} cannot be unpacked ({why}); unpack it yourself and give folder:PATH.") from error

"""Libraries that a machine may lack: an error that names one, and what to install.

A package may be missing, or be there without the native library that it stands on: Debian's
PortAudio is not pip's business. A library that only a part of the program needs is imported inside
``needed``; a lack of any other one ends the command with a message (``missing_library``).
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from capture.errors import LibraryMissingError


class _Library(NamedTuple):
    title: str
    package: str
    """Name at PyPI."""
    native: str | None = None
    """What it needs of a Linux system; ``None``: its wheel brings all along."""
    is_for_linux: bool = False


_LIBRARIES = {
    "av": _Library("PyAV", "av"),
    "cv2": _Library(
        "OpenCV",
        "opencv-python",
        "libgl1 and libglib2.0-0 (Debian, Ubuntu) or mesa-libGL and glib2 (Fedora)",
    ),
    "mss": _Library("mss", "mss"),
    "numpy": _Library("NumPy", "numpy"),
    "psutil": _Library("psutil", "psutil"),
    "pulsectl": _Library(
        "libpulse",
        "pulsectl",
        "libpulse0 (Debian, Ubuntu) or pulseaudio-libs (Fedora)",
        is_for_linux=True,
    ),
    "sounddevice": _Library(
        "PortAudio", "sounddevice", "libportaudio2 (Debian, Ubuntu) or portaudio (Fedora, Arch)"
    ),
    "soundfile": _Library(
        "libsndfile", "soundfile", "libsndfile1 (Debian, Ubuntu) or libsndfile (Fedora, Arch)"
    ),
    "xcffib": _Library(
        "libxcb",
        "xcffib",
        "libxcb1 and libxcb-randr0 (Debian, Ubuntu) or libxcb (Fedora, Arch)",
        is_for_linux=True,
    ),
}


def packages() -> dict[str, bool]:
    """The packages of libraries that may be missing, and whether this system needs them."""
    return {
        library.package: sys.platform == "linux" or not library.is_for_linux
        for library in _LIBRARIES.values()
    }


@contextmanager
def needed(name: str) -> Iterator[None]:
    """Translate errors of loading a library.

    Args:
        name: Its Python module.

    Raises:
        LibraryMissingError: It is not there, or does not load.
    """
    try:
        yield
    except ImportError as error:
        raise missing_library(error, name) or error from error
    except OSError as error:  # what cffi and ctypes raise for a native library
        raise _library_error(name, error) from error


def missing_library(error: BaseException, name: str | None = None) -> LibraryMissingError | None:
    """The missing library behind a failed import; ``None`` if it is a module of this program.

    Args:
        error: What was raised; of an import that failed for another one, the first counts.
        name: The imported module, where the error does not name it.
    """
    if not isinstance(error, ImportError):
        return None
    while isinstance(error.__cause__, ImportError):
        error = error.__cause__
    found = (error.name or name or "").partition(".")[0]
    return None if found in {"", "capture"} else _library_error(found, error)


def _library_error(name: str, error: Exception) -> LibraryMissingError:
    library = _LIBRARIES.get(name, _Library(name, name))
    details = {"error": str(error)}
    if isinstance(error, ModuleNotFoundError):
        return LibraryMissingError(
            f"the Python package {library.package} is not installed",
            hint=f"install it: pip install {library.package}",
            details=details,
        )
    hint = f"install it again: pip install --force-reinstall {library.package}"
    if library.native is not None and sys.platform == "linux":
        hint = f"install {library.native}"
    return LibraryMissingError(
        f"{library.title} cannot be loaded: {error}", hint=hint, details=details
    )

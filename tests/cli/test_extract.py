"""``capture extract`` of folders: a result for each file, also killed, interrupted, elsewhere."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile

from capture.batch.inputs import find_inputs
from capture.cli.app import run
from capture.errors import ConfigError
from tests.media.broken import BROKEN, make_broken, run_ffmpeg

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
FEW, MANY = (60, 10), (1000, 20)
"""Files and how many of them are broken, without and with ``--full``."""
ODD_NAMES = ("two\nlines", "😀 note", "-dash", "a'b\"c", "%s {} *")

if sys.platform == "win32":
    pytest.skip("signals as they are elsewhere", allow_module_level=True)


@pytest.fixture(scope="module", autouse=True)
def _tracker() -> None:
    """Python's own watcher of shared memory: started once, it stays as long as we do."""
    resource_tracker.ensure_running()


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One whole film or sound of each kind, that the tests copy."""
    folder = tmp_path_factory.mktemp("samples")
    tone = ("-f", "lavfi", "-i", "sine=440:duration=1.5:sample_rate=48000")
    card = ("-f", "lavfi", "-i", "testsrc=size=96x64:rate=10:duration=1.5", "-c:v", "mpeg4")
    made = {
        "a.mp4": (*tone, *card, "-c:a", "aac"),
        "b.mkv": (*tone, *card, "-c:a", "libopus"),
        "c.mov": (*tone, *card, "-c:a", "pcm_s16le"),
        "d.avi": (*tone, *card, "-c:a", "libmp3lame"),
        "e.opus": (*tone, "-c:a", "libopus"),
    }
    for name, options in made.items():
        run_ffmpeg(*options, folder / name)
    return {Path(name).suffix: folder / name for name in made}


def fill(folder: Path, samples: dict[str, Path], files: int, broken: int) -> set[Path]:
    """Make a folder of files, some of them broken, some with odd names; gives the broken ones."""
    folder.mkdir(exist_ok=True)
    bad = set(make_broken(folder, broken))
    kinds = list(samples.items())
    for number in range(files - broken):
        ending, source = kinds[number % len(kinds)]
        odd = ODD_NAMES[number % len(ODD_NAMES)] if number < 2 * len(ODD_NAMES) else "file"
        shutil.copy(source, folder / f"{odd} {number}{ending}")
    return bad


def start(*words: str | Path, **more: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "capture", "extract", *map(str, words)]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **more,
    )


def extract(*words: str | Path) -> tuple[int, list[dict[str, Any]], str]:
    """Exit code, events, and what was said."""
    process = start(*words, "--json")
    out, err = process.communicate(timeout=300)
    return process.returncode, [json.loads(line) for line in out.splitlines()], err


def plain(data: bytes) -> bytes:
    """Without what is drawn by lot: an Ogg page's serial number, and its checksum with it."""
    return re.sub(
        rb"(OggS.{10}).{4}(.{4}).{4}",
        lambda m: m[1] + bytes(4) + m[2] + bytes(4),
        data,
        flags=re.DOTALL,
    )


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(plain(path.read_bytes())).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.timeout(600)
def test_a_folder_with_broken_files(
    pytestconfig: pytest.Config, samples: dict[str, Path], tmp_path: Path
) -> None:
    files, broken = MANY if pytestconfig.getoption("full") else FEW
    source, target = tmp_path / "in", tmp_path / "out"
    bad = fill(source, samples, files, broken)
    before = digests(source)
    code, events, err = extract(source, "--output", target)
    assert code == 3, err
    *_, last = events
    done = [event for event in events if event["event"] == "file-done"]
    failed = [event for event in events if event["event"] == "file-failed"]
    assert (last["done"], last["failed"], last["skipped"]) == (files - broken, broken, 0)
    assert {Path(event["source"]) for event in failed} == bad
    assert {Path(event["source"]) for event in last["failures"]} == bad
    assert len({Path(event["source"]).stem.split("-")[-1] for event in failed}) == len(BROKEN)
    for event in failed:
        assert "\n" not in event["message"], event
        assert event["hint"], event
        assert event["kind"] in {"DamagedFileError", "MediaError"}, event
    made = {Path(part["path"]) for event in done for part in event["parts"]}
    assert made == set(target.iterdir())
    assert len(made) == files - broken
    assert digests(source) == before
    assert {path.suffix for path in made} == {".m4a", ".opus", ".wav", ".mp3"}

    # Again: nothing but what failed is tried.
    times = {path: path.stat().st_mtime_ns for path in made}
    code, events, _ = extract(source, "--output", target)
    assert code == 3
    assert (events[-1]["done"], events[-1]["skipped"]) == (0, files - broken)
    assert {path: path.stat().st_mtime_ns for path in target.iterdir()} == times


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_ended_in_the_middle_and_run_again_only_the_rest_is_done(
    number: int, samples: dict[str, Path], tmp_path: Path
) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    fill(source, samples, 40, 0)
    for path in list(source.iterdir())[:6]:  # long enough to be in the middle of one
        run_ffmpeg("-f", "lavfi", "-i", "anoisesrc=d=20:r=48000", path.with_suffix(".flac"))
        path.unlink()
    process = start(source, "--output", target, "--format", "opus", "--jobs", "2")
    deadline = time.monotonic() + 30
    while not target.exists() or len(whole(target)) < 6:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.005)
    os.killpg(process.pid, number) if number == signal.SIGINT else process.kill()
    out, err = process.communicate(timeout=20)
    assert process.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL), err
    assert "Traceback" not in err
    assert eventually_ended(process.pid)
    kept = {path: path.stat().st_mtime_ns for path in whole(target)}
    assert 6 <= len(kept) < 40
    for path in kept:
        soundfile.info(str(path))
    if number == signal.SIGINT:
        assert list(target.iterdir()) == list(kept) or set(target.iterdir()) == set(kept)
        assert f"stopped: {len(out.splitlines())} done" in err
        assert len(out.splitlines()) <= len(kept) + 2  # a name with a line break has two lines
    code, events, err = extract(source, "--output", target, "--format", "opus")
    assert code == 0, err
    assert (events[-1]["done"], events[-1]["skipped"]) == (40 - len(kept), len(kept))
    assert len(list(target.iterdir())) == 40
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def whole(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if not path.name.startswith(".")]


def eventually_ended(group: int, timeout_s: float = 10.0) -> bool:
    """Whether the last process of a session has gone."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


@pytest.fixture
def cluster() -> Iterator[str]:
    """A scheduler with two worker processes, on the loopback; its address."""
    code = (
        "import sys, distributed\n"
        "if __name__ == '__main__':\n"
        "    cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True,"
        " dashboard_address=None, host='127.0.0.1')\n"
        "    print(cluster.scheduler_address, flush=True)\n"
        "    sys.stdin.read()\n"
        "    cluster.close()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.communicate(timeout=30)


def test_a_cluster_gives_the_same_files(
    samples: dict[str, Path], tmp_path: Path, cluster: str
) -> None:
    source, here, there = tmp_path / "in", tmp_path / "here", tmp_path / "there"
    bad = fill(source, samples, 60, 10)
    assert extract(source, "--output", here)[0] == 3
    code, events, err = extract(source, "--output", there, "--cluster", cluster)
    assert code == 3, err
    assert (events[-1]["done"], events[-1]["failed"]) == (50, 10)
    assert {Path(event["source"]) for event in events[-1]["failures"]} == bad
    assert digests(here) == digests(there)
    assert len(digests(here)) == 50


def test_a_cluster_that_is_not_there(
    film: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("capture.batch.executors.CONNECT_TIMEOUT_S", 0.3)
    assert run(["extract", str(film), "--cluster", "tcp://127.0.0.1:9"]) == 1
    shown = capsys.readouterr()
    assert not shown.out
    assert "error: no Dask scheduler answers" in shown.err
    assert "hint: " in shown.err


# ------------------------------------------------------------------------------------- one file


@pytest.fixture
def film(samples: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copy(samples[".mp4"], tmp_path / "film.mp4"))


def test_one_file(film: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["extract", str(film)]) == 0
    assert capsys.readouterr().out == f"{film.with_suffix('.m4a')}\n"
    assert run(["extract", str(film)]) == 0
    shown = capsys.readouterr()
    assert shown.out == f"{film.with_suffix('.m4a')}\n"
    assert "already extracted" in shown.err
    first = film.with_suffix(".m4a").stat().st_ino
    assert run(["extract", str(film), "--force"]) == 0
    assert film.with_suffix(".m4a").stat().st_ino != first


def test_a_copy_does_without_what_decodes(samples: dict[str, Path], tmp_path: Path) -> None:
    code = (
        "import sys; from capture.cli.app import run; into, *sources = sys.argv[1:];"
        "codes = [run(['extract', one, '--output', into, *more]) for one in sources"
        " for more in ([], ['--start', '0.2s', '--end', '1s'])];"
        "slow = {'numpy', 'soundfile', 'cv2', 'capture.media.extract.transcode'};"
        "decoding = slow & set(sys.modules);"
        "sys.exit(any(codes) or ', '.join(decoding) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "out", *samples.values()],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2 * len(samples)


MANNERS = {
    "": "film.m4a",
    "--start 0.2s --end 0.5s": "film 0.2-0.5s.m4a",
    "--start 0.4s --end 0.8s": "film 0.4-0.8s.m4a",
    "--start 0.4s": "film from 0.4s.m4a",
    "--trim": "film trimmed.m4a",
    "--trim --threshold -30": "film trimmed -30 dBFS.m4a",
    "--mono": "film mono.m4a",
    "--rate 16000 --mono": "film 16000 Hz mono.m4a",
    "--normalize": "film -16 LUFS.m4a",
    "--normalize -20": "film -20 LUFS.m4a",
    "--format m4a": "film medium.m4a",
    "--format m4a --quality high": "film high.m4a",
    "--format mp3": "film.mp3",
    "--format mp3 --quality low": "film low.mp3",
    "--format wav --quality low": "film.wav",
    "--for whatsapp": "film whatsapp.ogg",
    "--keep-offset": "film delayed.m4a",
}


def test_nothing_is_given_that_was_made_otherwise(
    film: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every way has a name of its own, so that what is there is what was asked for."""
    for again in (False, True):
        for options, name in MANNERS.items():
            assert run(["extract", str(film), *options.split()]) == 0, options
            shown = capsys.readouterr()
            assert shown.out == f"{film.with_name(name)}\n"
            assert ("already extracted" in shown.err) == again, options
    assert {path.name for path in film.parent.iterdir()} == {"film.mp4", *MANNERS.values()}
    cut = soundfile.info(str(film.with_name("film.wav"))).duration
    assert cut == pytest.approx(1.5, abs=0.05)


def test_a_name_that_is_cut_for_its_length_says_how_it_was_made(film: Path) -> None:
    long = film.rename(film.with_name("ä" * 120 + ".mp4"))
    for options in ((), ("--mono",), ("--mono", "--start", "0.5")):
        assert run(["extract", str(long), *options]) == 0
    made = sorted(path.stem.lstrip("ä") for path in film.parent.iterdir() if path != long)
    assert made == ["", " from 0.5s mono", " mono"]


def test_a_named_file_is_never_taken_for_another(
    film: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = film.with_name("talk.m4a")
    assert run(["extract", str(film), "-o", str(target), "--end", "0.5"]) == 0
    capsys.readouterr()
    for options in ((), ("--end", "0.5"), ("--mono",)):
        assert run(["extract", str(film), "-o", str(target), *options]) == 1
        shown = capsys.readouterr()
        assert shown.out == ""
        assert f"{target} is there already" in shown.err
        assert "--force replaces it, --output names another" in shown.err


def test_a_track_has_a_name_of_its_own(film: Path) -> None:
    two = film.with_name("two.mkv")
    run_ffmpeg(
        *("-i", film, "-map", "0:a", "-map", "0:a", "-metadata:s:a:1", "language=deu"),
        *("-c", "copy", two),
    )
    for track in ("1", "all", "2", "de"):
        assert run(["extract", str(two), "--track", track]) == 0
    made = {path.name for path in film.parent.iterdir()} - {film.name, two.name}
    assert made == {"two.m4a", "two.2.deu.m4a", "two.1.m4a"}


def test_a_picture_is_drawn_of_what_is_there(film: Path) -> None:
    assert run(["extract", str(film)]) == 0
    made = film.with_suffix(".m4a").stat().st_ino
    assert run(["extract", str(film), "--picture"]) == 0
    assert film.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert film.with_suffix(".m4a").stat().st_ino == made


def test_a_batch_again_in_another_manner(samples: dict[str, Path], tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    fill(source, samples, 5, 0)
    for options in ((), ("--end", "0.5"), ("--mono",)):
        for done, skipped in ((5, 0), (0, 5)):
            code, events, err = extract(source, "--output", target, *options)
            assert code == 0, err
            assert (events[-1]["done"], events[-1]["skipped"]) == (done, skipped)
    assert len(list(target.iterdir())) == 15


def test_a_source_that_is_newer_is_told(film: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["extract", str(film)]) == 0
    os.utime(film)
    assert run(["extract", str(film), "--json"]) == 1
    first, last = map(json.loads, capsys.readouterr().out.splitlines()[1:])
    assert (first["event"], first["kind"]) == ("file-failed", "OutputError")
    assert (last["event"], last["done"], last["failed"]) == ("result", 0, 1)
    assert run(["extract", str(film)]) == 1
    assert "is there already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "codec"),
    [("x.wav", "PCM_16"), ("x.flac", "PCM_16"), ("x.mp3", "MPEG_LAYER_III"), ("x.opus", "OPUS")],
)
def test_the_ending_of_the_output_decides(
    name: str, codec: str, film: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = film.with_name(name)
    assert run(["extract", str(film), "-o", str(target)]) == 0
    assert capsys.readouterr().out == f"{target}\n"
    assert soundfile.info(str(target)).subtype == codec
    assert run(["extract", str(film), "--format", "copy", "-o", str(target), "--force"]) == 2


def test_an_output_folder_is_made(film: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = film.with_name("new folder") / "deeper"
    words = ["extract", str(film), "-o", str(target), "--start", "0.5", "--end", "1.0"]
    assert run([*words, "--format", "wav", "--mono", "--rate", "16000"]) == 0
    shown = capsys.readouterr()
    made = target / "film 0.5-1s 16000 Hz mono.wav"
    assert shown.out == f"{made}\n"
    assert f"made folder {target}" in shown.err
    info = soundfile.info(str(made))
    assert (info.frames, info.samplerate, info.channels) == (8000, 16_000, 1)


def test_a_cut_says_where_it_is(film: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["extract", str(film), "--start", "0.5", "--end", "1.0"]) == 0
    span = re.search(r"([\d.]+) to +([\d.]+) s", capsys.readouterr().err)
    assert span is not None
    start_s, end_s = map(float, span.groups())
    assert start_s == pytest.approx(0.5, abs=0.025)  # packets have 21 ms
    assert end_s == pytest.approx(1.0, abs=0.025)
    assert run(["extract", str(film)]) == 0
    assert " to " not in capsys.readouterr().err


def test_one_broken_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in make_broken(tmp_path):
        assert run(["extract", str(path)]) == 1
        shown = capsys.readouterr()
        assert shown.out == ""
        assert "error: " in shown.err
        assert "hint: " in shown.err
    assert len(list(tmp_path.iterdir())) == len(BROKEN)


def test_a_film_that_is_cut_off_is_kept_as_far_as_it_goes(
    samples: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cut.mov"
    data = samples[".mov"].read_bytes()
    faststart = tmp_path / "whole.mov"
    run_ffmpeg("-i", samples[".mov"], "-c", "copy", "-movflags", "faststart", faststart)
    data = faststart.read_bytes()
    faststart.unlink()
    path.write_bytes(data[: len(data) // 2])
    assert run(["extract", str(path)]) == 1
    shown = capsys.readouterr()
    assert shown.out == f"{path.with_suffix('.wav')}\n"
    assert "warning: " in shown.err
    assert 0.3 < soundfile.info(str(path.with_suffix(".wav"))).duration < 1.2
    path.with_suffix(".wav").unlink()
    shutil.copy(samples[".mp4"], tmp_path / "fine.mp4")
    code, (*_, last), _ = extract(tmp_path, "--jobs", "1")
    assert code == 3
    assert (last["done"], last["failed"]) == (2, 1)
    assert "only a part" in last["failures"][0]["message"]


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["nothing/*.mp4"],
        ["FILM", "--jobs", "0"],
        ["FILM", "--for", "whatsapp", "--format", "wav"],
        ["FILM", "--format", "aiff"],
        ["FILM", "FILM2", "-o", "FILM"],
        ["FILM", "FILM2", "--rate", "5"],
        ["gone.mp4"],
        ["FILM", "-o", "x.mp4"],
        ["FILM", "-o", "song.mp33"],
        ["FILM", "FILM2", "-o", "film.xyz"],
        ["FILM", "FILM2", "-o", "film.mp3"],
    ],
)
def test_usage_errors(words: list[str], film: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = Path(shutil.copy(film, film.with_name("film2.mp4")))
    names = {"FILM": str(film), "FILM2": str(other)}
    assert run(["extract", *[names.get(word, word) for word in words]]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert "hint: " in shown.err


# --------------------------------------------------------------------------- which files, and where


def test_two_files_that_would_be_one_are_numbered_and_told(
    samples: dict[str, Path], tmp_path: Path
) -> None:
    for name in ("a.mp4", "a (2).mp4", "A.m4v", "sub/a.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(samples[".mp4"], tmp_path / name)
    shutil.copy(samples[".mkv"], tmp_path / "a.mkv")
    code, events, _ = extract(tmp_path)
    assert code == 0
    made = sorted(Path(part["path"]).name for e in events for part in e.get("parts", ()))
    assert made == ["A.m4a", "a (2).m4a", "a (3).m4a", "a.opus"]
    (note,) = [event["message"] for event in events if event["event"] == "note"]
    assert note.endswith("becomes a (3).m4a: another file has its name")
    code, events, _ = extract(tmp_path)  # the results are no sources, and nothing is done again
    assert code == 0
    assert (events[-1]["done"], events[-1]["skipped"]) == (0, 4)
    code, events, _ = extract(tmp_path, "-r", "--output", tmp_path / "out")
    assert code == 0
    assert (tmp_path / "out" / "sub" / "a.m4a").exists()
    assert extract(tmp_path, "-r", "--output", tmp_path / "out")[1][-1]["done"] == 0


def test_which_files_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["a.mp4", "b.TXT", "c.OPUS", ".hidden.mp4", ".x.12.part.mp4", "sub/d.mkv", "sub/e.md"]
    names += ["sub/.git/f.mp4", "e [1].wav", "two\nlines.mp3"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "sub" / "loop").symlink_to(tmp_path)
    (tmp_path / "g.mp4").symlink_to(tmp_path / "a.mp4")
    monkeypatch.chdir(tmp_path)

    def found(*words: str, **more: Any) -> list[str]:
        return [str(one.path) for one in find_inputs([Path(word) for word in words], **more)]

    flat = ["a.mp4", "c.OPUS", "e [1].wav", "g.mp4", "two\nlines.mp3"]
    assert found(".") == flat
    deep = [*flat[:4], "sub/d.mkv", flat[4]]
    assert found(".", is_recursive=True) == deep
    assert found(".", is_recursive=True, leave_out=(tmp_path / "sub").resolve()) == flat
    assert found("*.mp4") == ["a.mp4", "g.mp4"]
    assert found("e [1].wav") == ["e [1].wav"]
    assert found("a.mp4", "./a.mp4", str(tmp_path / "a.mp4")) == ["a.mp4"]
    assert found("b.TXT", "gone.mp4") == ["b.TXT", "gone.mp4"]
    assert found("**/*.mkv") == ["sub/d.mkv"]
    below = {str(one.path): one.below for one in find_inputs([Path()], is_recursive=True)}
    assert (below["a.mp4"], below["sub/d.mkv"]) == (Path(), Path("sub"))
    with pytest.raises(ConfigError, match="nothing fits"):
        found("*.avi")


def test_lines_for_who_does_not_watch(samples: dict[str, Path], tmp_path: Path) -> None:
    fill(tmp_path / "in", samples, 14, 2)
    process = start(tmp_path / "in", "--output", tmp_path / "out")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 3
    assert out.count(str(tmp_path / "out")) == 12
    assert "12 done, 2 failed" in err
    assert err.count("failed: ") == 2
    process = start(tmp_path / "in", "--output", tmp_path / "out", "--quiet", "--force")
    out, err = process.communicate(timeout=60)
    assert out.count(str(tmp_path / "out")) == 12
    assert err.count("failed: ") == 2
    assert "done" not in err


def test_probe(
    samples: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["probe", str(samples[".mp4"]), "--loudness"]) == 0
    shown = capsys.readouterr().out
    assert "sound 1" in shown
    assert "aac" in shown
    assert "LUFS" in shown
    assert "96x64 10 pictures/s" in shown
    assert "48000 Hz mono" in shown
    assert "channels" not in shown
    monkeypatch.setenv("COLUMNS", "30")
    assert run(["probe", str(samples[".mp4"]), "--loudness"]) == 0
    assert capsys.readouterr().out == shown
    assert run(["probe", str(samples[".mkv"]), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [track["codec"] for track in found["tracks"] if track["kind"] == "audio"] == ["opus"]
    assert run(["probe", str(samples[".mp4"]), "gone.mp4", "--json"]) == 2
    both = capsys.readouterr()
    assert "gone.mp4" in json.loads(both.out.splitlines()[1])["error"]
    assert "error: " in both.err


def test_a_batch_is_as_exact_as_one_file(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    for number in range(4):
        sound = random.integers(-9000, 9000, 48_000 + number, np.int16)
        soundfile.write(tmp_path / f"{number}.flac", sound, 48_000)
    assert extract(tmp_path, "--format", "wav")[0] == 0
    for number in range(4):
        there, _ = soundfile.read(tmp_path / f"{number}.flac", dtype="int16")
        made, _ = soundfile.read(tmp_path / f"{number}.wav", dtype="int16")
        assert np.array_equal(there, made)


def test_one_file_that_is_interrupted_leaves_nothing(tmp_path: Path) -> None:
    source = tmp_path / "long.flac"
    run_ffmpeg("-f", "lavfi", "-i", "anoisesrc=d=600:r=48000", source)
    process = start(source, "--format", "opus")
    deadline = time.monotonic() + 20
    while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == [source]

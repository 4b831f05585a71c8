"""A job's recorder as a process: a spec in, the protocol out, whatever happens."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from capture.media.check.recover import measure
from capture.specs.as_json import to_json
from capture.specs.recording import AudioSpec, RecordingSpec, VideoSpec
from capture.specs.target import TestCard

WORKER = (sys.executable, "-m", "capture.schedule.worker")


def spec(path: Path, **values: Any) -> dict[str, Any]:
    card = VideoSpec(TestCard(160, 128), fps=15.0)
    return to_json(RecordingSpec(path, card, (AudioSpec("synthetic"),), **values))


def work(values: Any) -> tuple[int, list[dict[str, Any]], str]:
    """Its exit code, what it reports, and what is on stderr."""
    done = subprocess.run(
        WORKER, input=json.dumps(values), capture_output=True, text=True, check=False
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_it_reports_what_happens_and_the_result_last(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    code, events, words = work(spec(path, duration_s=0.5))
    assert (code, words) == (0, "")
    assert events[0] == {"event": "protocol", "version": 1}
    assert [e["event"] for e in events if e["event"] in {"started", "done"}] == ["started", "done"]
    assert events[-1]["event"] == "result"
    assert events[-1]["paths"] == [str(path)]
    assert measure(path).length_s == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(
    ("changes", "code", "kind", "message"),
    [
        ({"version": 9}, 2, "ConfigError", "a spec of version 9 cannot be read here"),
        ({"spec": {"output": "x.mkv", "delay_s": -1}}, 2, "ConfigError", "a delay cannot be -1"),
        ({"spec": {"output": "/proc/x.wav", "video": None}}, 1, "", "/proc"),
    ],
)
def test_an_error_is_an_object(
    changes: dict[str, Any], code: int, kind: str, message: str, tmp_path: Path
) -> None:
    found, events, words = work(spec(tmp_path / "a.mkv") | changes)
    error = events[-1]
    assert (found, error["event"], words) == (code, "error", "")
    assert error["kind"].endswith(kind)
    assert message in error["message"]
    assert "hint" in error


@pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")
def test_sigterm_ends_it_in_order_whenever_it_comes(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    for values, is_early in ((spec(path), False), (spec(path, begin_at_s=time.time() + 60), True)):
        path.unlink(missing_ok=True)
        with subprocess.Popen(WORKER, text=True, **pipes) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps(values))
            process.stdin.close()
            assert "protocol" in process.stdout.readline()
            if is_early:
                time.sleep(1.0)
            else:
                while "started" not in process.stdout.readline():
                    pass
            process.send_signal(signal.SIGTERM)
            last = json.loads(process.stdout.readlines()[-1])
        assert process.returncode == (130 if is_early else 0)
        assert last.get("kind" if is_early else "stopped_by") == (
            "NothingRecordedError" if is_early else "terminate"
        )
        assert path.exists() is not is_early


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is of Linux")
def test_a_disk_that_takes_no_log_costs_nothing_of_the_recording(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            WORKER,
            input=json.dumps(spec(path, duration_s=0.5)),
            stdout=full,
            stderr=subprocess.DEVNULL,
            text=True,
            check=False,
        )
    assert measure(path).length_s == pytest.approx(0.5, abs=0.1)
    assert done.returncode in {0, 120}  # 120 is Python's own, which could not write either

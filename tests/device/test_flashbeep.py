"""The measuring client is on time, and an ordinary recorder's file can be measured with it."""

from __future__ import annotations

import json
import shutil
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.device.measure import against_truth, measure_events, offsets
from tests.device.recorded import PATIENCE_S

if TYPE_CHECKING:
    from capture.desktop import PrivateDesktop

CLIENT = Path(__file__).with_name("flashbeep.py")
EVENTS = 8
FFMPEG = (
    "ffmpeg -y -loglevel error -f x11grab -framerate 30 -i {display} -f pulse -i desk.monitor"
    " -c:v libx264 -preset ultrafast -c:a aac"
)


@pytest.mark.alone
def test_it_draws_when_the_beep_is_heard(private_desktop: PrivateDesktop, tmp_path: Path) -> None:
    truth = tmp_path / "truth.jsonl"
    client = private_desktop.run(
        [sys.executable, str(CLIENT), "--events", str(EVENTS), "--out", str(truth)]
    )
    assert client.wait(PATIENCE_S) == 0
    events = [json.loads(line) for line in truth.read_text().splitlines()]
    assert [event["event"] for event in events] == list(range(EVENTS))
    late_ms = [(event["drawn_ns"] - event["heard_ns"]) / 1e6 for event in events]
    assert -1 <= statistics.median(late_ms) < 3  # 0.5 ms on an idle machine


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
@pytest.mark.alone
def test_another_recorders_film_is_measured(
    private_desktop: PrivateDesktop, tmp_path: Path
) -> None:
    film = tmp_path / "film.mkv"
    recorder = private_desktop.run(
        [*FFMPEG.format(display=private_desktop.display).split(), str(film)]
    )
    client = private_desktop.run(
        [sys.executable, str(CLIENT), "--events", str(EVENTS), "--out", str(tmp_path / "truth")]
    )
    assert client.wait(PATIENCE_S) == 0
    recorder.terminate()
    recorder.wait(PATIENCE_S)
    result = offsets(against_truth(measure_events(film), tmp_path / "truth"), picture_s=1 / 30)
    assert result.count >= EVENTS - 2
    assert -250 < result.median_ms < 250  # its offset is no secret, but not ours to promise
    assert result.p95_ms - result.p5_ms < 60

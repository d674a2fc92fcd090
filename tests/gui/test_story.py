"""The whole story by X events: from an empty home to an exported network and back."""

import json

import pytest
import real_hands
import stories
from real_hands import Studio
from stories import BAR, JOB, SPACE

MISSING = real_hands.missing()
pytestmark = [
    pytest.mark.gui,
    pytest.mark.timeout(900),  # where others hold the cores; a minute where not
    pytest.mark.skipif(bool(MISSING), reason=f"not installed here: {', '.join(MISSING)}"),
]


def test_from_the_sample_to_an_export_and_back(sample, tmp_path):
    home = tmp_path / "home"
    stories.put_sample(home, sample)
    with Studio(home) as studio:
        stories.open_sample(studio)
        assert studio.see("window().header.state('data')") in ("ok", "warn")
        assert studio.see(f"{SPACE}.doctor_panel.verdict.text()")
        shipped = home / "self6d-runs" / "sample-stage1"
        assert studio.see("[str(r.path) for r in window().project.runs]") == [str(shipped)]

        # run it; curves grow
        studio.click("Run self-supervision")
        studio.wait(f"{JOB} is not None and {JOB}.last_progress and {JOB}.last_progress.step >= 1")
        run = studio.see(f"str({JOB}.run)")
        curves = f"{SPACE}.curves"
        studio.wait(f"{curves}.runs[{run!r}].last_step >= 1")
        assert {"total", "pseudo", "selected"} <= set(studio.see(f"list({curves}.terms())"))
        assert studio.see(f"{SPACE}.stage.page") == "probes"
        studio.wait(f"{SPACE}.stage.probes.newest is not None")

        # muting the mask asks first; it pauses, goes on, and stops early with all it learnt
        detour = studio.clicks
        mask = f"{SPACE}.adapt_panel.weights"
        studio.click_at(studio.wait(f"place({mask}.mutes['mask'])"))
        studio.wait("dialog() == 'Mute the mask term?'")
        studio.click("Keep it")
        studio.wait("dialog() == ''")
        assert studio.see(f"{mask}.weight('mask')") == 1
        studio.click("Pause")
        studio.wait(f"{JOB}.state.name == 'PAUSED'")
        at = studio.see(f"{JOB}.last_progress.step")
        studio.click("Resume")
        studio.wait(f"{JOB}.state.name == 'RUNNING' and {JOB}.last_progress.step > {at}")
        studio.clicks = detour
        studio.click("Stop early (keep)")
        stories.wait_for_job(studio, "adapt")
        assert studio.see(f"{JOB}.state.name") == "STOPPED"

        stories.look_back(studio)
        assert studio.see(f"[str(p) for p in {SPACE}.evaluate_page.chosen()]") == [
            str(shipped), run,
        ]  # fmt: skip
        package = stories.export(studio, onnx=False)
        assert any(package.glob("*.safetensors"))
        assert json.loads((home / "self6d-runs" / "sample-adapt-01" / "run.json").read_text())[
            "status"] == "stopped"  # fmt: skip
        assert studio.clicks <= stories.MOST_CLICKS, studio.clicks

        # close with the keyboard
        frame = studio.see("window().project.frame_index")
        studio.key("ctrl+q")
        assert studio.process.wait(60) == 0

    with Studio(home) as studio:  # open again: everything is back
        studio.wait("window().director.frame is not None and window().project.models")
        studio.wait("window().banner.isVisible()")
        assert studio.see("window().project.frame_index") == frame
        assert set(studio.see("[str(r.path) for r in window().project.runs]")) == {
            str(shipped), run,
        }  # fmt: skip
        assert studio.see("window().project.step") == "export"
        assert studio.see(f"bool({SPACE}.evaluate_page.results)")
        assert studio.see("window().header.state('selfsup')") == "ok"


def test_from_a_plain_folder_and_one_cad_file_to_an_export(sample, warm, tmp_path):
    """Its helpers and jobs are forks: that the studio starts them itself is the story above."""
    recording, cad = stories.make_plain(tmp_path, sample)
    with Studio(tmp_path / "home", str(recording), warm=warm) as studio:
        stories.open_plain(studio, cad)
        stories.train_and_adapt_plain(studio)
        assert studio.see(f"{JOB}.state.name") == "DONE", studio.see(BAR)
        package = stories.export(studio, onnx=False)
        assert any(package.glob("*.safetensors"))
        assert studio.clicks <= stories.MOST_CLICKS, studio.clicks

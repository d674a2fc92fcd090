"""Pictures of every step of the window, light and dark, taken while X events lead through it.

    .venv/bin/python scripts/screenshots.py --out resources/tour

The same stories as in tests/gui/test_story.py, on a screen of 1280 x 800 with a window manager: the
sample, then a plain folder with one CAD file. HOME (--home) is made where it is not there: it takes
the generated sample and an adaptation of it by `self6d-studio adapt`, so that there is something to
see; minutes on two cores. Look at every picture before you commit it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "helpers"))

import stories
from PIL import Image
from real_hands import ROOT, Studio, missing
from stories import JOB, SPACE

STEPS = 200
QUALITY = 82
TUGBOAT = [60, 317]  # in the list on the left
FLASK = [550, 195]  # in the picture of the first frame
ADAPTED = "sample-adapted"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("screenshots"))
    parser.add_argument("--home", type=Path, default=Path("/tmp/self6d-tour"))
    parser.add_argument("--look", choices=["light", "dark"], help="only this one")
    parser.add_argument("--story", choices=["sample", "plain"], help="only this one")
    given = parser.parse_args()
    if missing():
        parser.error(f"not installed here: {', '.join(missing())}")
    given.out.mkdir(parents=True, exist_ok=True)
    prepare(given.home)
    for look in ("light", "dark"):
        for name, tell in (("sample", sample_story), ("plain", plain_story)):
            if given.look in (None, look) and given.story in (None, name):
                tell(given.home, given.out, look)
    pictures = list(given.out.glob("*.jpg"))
    total = sum(p.stat().st_size for p in pictures)
    print(f"{len(pictures)} pictures in {given.out}, {total / 2**20:.2f} MB")


def prepare(home: Path) -> None:
    """The generated sample and a network adapted to it, where a user's are."""
    from self6d.sample.sample import make_sample
    from studio.engine.types import SAMPLE_EVAL, SAMPLE_FRAMES

    sample, runs = sample_of(home), home / "self6d-runs"
    if not sample.exists():
        make_sample(sample, frames=SAMPLE_FRAMES, eval_frames=SAMPLE_EVAL)
    if not (runs / "sample-stage1").exists():
        shutil.copytree(ROOT / "resources" / "sample" / "stage1", runs / "sample-stage1")
    # apart from the others: the window would find it with its recording, before its turn
    if not (home / ADAPTED).exists():
        command = [
            sys.executable, "-m", "self6d.cli", "adapt", sample, "--models", sample / "models",
            "--from", runs / "sample-stage1", "--preset", "self6d-plus-tiny", "--steps", STEPS,
            "--out", home / ADAPTED,
        ]  # fmt: skip
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        subprocess.run([str(word) for word in command], check=True, env=environment)


def sample_of(home: Path) -> Path:
    return home / ".local" / "state" / "self6d-studio" / "sample"


def keep(out: Path, story: str, look: str):
    """What writes a picture of the screen."""

    def write(name: str, picture: Image.Image) -> None:
        file = out / f"{story}-{name}-{look}.jpg"
        picture.convert("RGB").save(file, quality=QUALITY, optimize=True, progressive=True)
        print(file, f"{file.stat().st_size // 1024} kB")

    return write


def fresh(home: Path) -> None:
    """Forget what the window remembers of the look before, and what it made."""
    (home / "studio.ini").unlink(missing_ok=True)
    made = [*home.glob("self6d-runs/sample-adapt-*"), *home.glob("*-package-*"),
            *home.glob("self6d-runs/drill-*")]  # fmt: skip
    shutil.rmtree(home / ".local" / "state" / "self6d-studio" / "evaluations", ignore_errors=True)
    for path in made:
        shutil.rmtree(path)


def sample_story(home: Path, out: Path, look: str) -> None:
    """Welcome, data, a run under way, did it help, X-ray, scores, export."""
    fresh(home)
    with Studio(home, look=look, shots=keep(out, "sample", look)) as studio:
        stories.open_sample(studio)
        studio.click("Run self-supervision")
        studio.wait(f"{JOB} is not None and {JOB}.last_progress and {JOB}.last_progress.step >= 6")
        studio.shoot("3-adapting")
        studio.click("Stop early (keep)")
        stories.wait_for_job(studio, "adapt")
        studio.wait(f"{SPACE}.helped.comparison.verdict is not None")
        # the network that was adapted for longer
        studio.key("ctrl+shift+p")
        studio.type("Open run")
        studio.key("Return")
        studio.choose_file("Open a run folder", home / ADAPTED)
        studio.click_at(studio.wait("tab('Did it help?')"))
        studio.click("Compare")
        stories.look_back(studio)
        package = stories.export(studio, onnx=False)
        studio.click_at(studio.wait("place(window().header.buttons['selfsup'])"))
        studio.click_at(TUGBOAT)  # the captions lie on the first object
        studio.wait("window().project.object_id == 3")
        studio.key("ctrl+shift+p")
        studio.type("Loss X-ray")
        studio.key("Return")
        studio.wait(f"{SPACE}.xray_panel.xray is not None")
        studio.shoot("7-xray")
        shutil.rmtree(package)


def plain_story(home: Path, out: Path, look: str) -> None:
    """A plain folder and one CAD file: stage 1, and the way without a GPU: place, track."""
    fresh(home)
    data = home / "data"
    shutil.rmtree(data, ignore_errors=True)
    recording, cad = stories.make_plain(data, sample_of(home))
    with Studio(home, str(recording), look=look, shots=keep(out, "plain", look)) as studio:
        stories.open_plain(studio, cad)
        studio.click("Preview synthetic images")
        studio.wait(f"{SPACE}.stage.preview_button.isEnabled() and not window().worker.busy")
        studio.shoot("3-stage1")
        stories.place_plain(studio, FLASK)
        studio.shoot("4-placed")
        stories.track_plain(studio)
        studio.shoot("5-tracked")
    shutil.rmtree(data)


if __name__ == "__main__":
    main()

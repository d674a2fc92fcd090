"""The helper process: answers, replaced requests, failures, death."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import bags
import cv2
import numpy as np
import psutil
import pytest
import recordings as world
import trimesh

from self6d.datasets import open_dataset
from self6d.datasets.images import RGB_SUFFIXES
from self6d.datasets.readers.bags.file import BAG_SUFFIXES
from self6d.datasets.readers.film import FILM_SUFFIXES
from self6d.errors import InputError
from self6d.paths import resource
from self6d.runs.checkpoint import pack, unpack
from self6d.runs.folder import RunFolder
from studio.controllers.glance import glance
from studio.engine import Engine
from studio.engine.requests import scores
from studio.engine.requests.judging import Judges
from studio.engine.requests.recordings import info_of
from studio.engine.store import Store
from studio.engine.types import PoseData

pytestmark = pytest.mark.gui


@pytest.fixture(scope="module")
def engine(qapp):
    """One for all tests here: torch takes seconds to load."""
    engine = Engine()
    yield engine
    engine.close()


def test_frames_renderings_and_clouds_come_back(engine, sample, wait):
    got = {}
    models = [str(sample / "models")]
    engine.request("open_recording", str(sample), done=lambda v: got.update(info=v))
    wait(lambda: "info" in got)
    info = got["info"]
    assert {name: len(chosen) for name, chosen in info.splits.items()} == {
        "adapt": 8, "eval": 4, "moved": 2,
    }  # fmt: skip
    assert len(info) == 14
    assert info.has_depth
    assert info.has_truth
    assert info.models == str(sample / "models")
    index = info.splits["eval"][0]
    engine.request("frame", str(sample), index, done=lambda v: got.update(frame=v))
    wait(lambda: "frame" in got)
    frame = got["frame"]
    assert frame.rgb.shape == (96, 128, 3)
    assert frame.truth
    engine.request("render", models, frame.truth, frame.K, frame.size,
                   done=lambda v: got.update(drawn=v))  # fmt: skip
    engine.request("cloud", str(sample), index, models, frame.truth[0],
                   done=lambda v: got.update(cloud=v))  # fmt: skip
    wait(lambda: "cloud" in got)
    drawn = got["drawn"]
    both = drawn.mask & (frame.depth_m > 0)
    gap = np.abs(drawn.depth_m[both] - frame.depth_m[both])
    assert np.median(gap) < 0.01  # the truth lies on the sensor's surface
    assert set(np.unique(drawn.owner)) <= {-1, *range(len(frame.truth))}
    assert got["cloud"].chamfer_mm < 20
    assert len(got["cloud"].distance) == len(got["cloud"].model)


def test_a_frame_that_cannot_be_read_hides_no_other_thumbnail(engine, sample, wait, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(sample, broken)
    sorted(broken.glob("test/*/rgb/*"))[1].write_bytes(b"")
    got, ended = [], []
    engine.request("thumbnails", str(broken), [0, 1, 2], 32, partial=got.append,
                   done=ended.append, failed=ended.append)  # fmt: skip
    wait(lambda: ended)
    assert [index for index, _ in got] == [0, 2]


def test_truth_of_unlabelled_frames_stays_unknown(engine, sample, wait):
    got = []
    engine.request("open_recording", str(sample), done=got.append)
    wait(lambda: got)
    for index in got[0].splits["adapt"][:3]:
        frames = []
        engine.request("frame", str(sample), index, done=frames.append)
        wait(lambda frames=frames: frames)
        assert frames[0].truth == ()


def test_of_requests_with_one_key_only_first_and_last_run(engine, sample, wait):
    shown = []
    for index in range(8):
        engine.request("frame", str(sample), index, key="frame",
                       done=lambda f: shown.append(f.index))  # fmt: skip
    wait(lambda: shown and shown[-1] == 7)
    assert shown == [0, 7]


def test_failure_says_what_where_and_what_to_do(engine, tmp_path, wait):
    failures = []
    engine.request("open_recording", str(tmp_path), failed=failures.append)
    wait(lambda: failures)
    failure = failures[0]
    assert failure.type == "InputError"
    assert str(tmp_path) in failure.one_line()
    assert failure.remedy
    assert "Traceback" in failure.trace


def test_a_frame_that_cannot_be_read_keeps_no_recording_closed(tmp_path):
    """Which folders are to be watched was asked of the last frame, and its fault was all there was
    to see."""
    for name in ("rgb", "depth", "intrinsics"):
        (tmp_path / name).mkdir()
    for image in ("0001", "0002", "0003"):
        cv2.imwrite(str(tmp_path / "rgb" / f"{image}.png"), np.zeros((48, 64, 3), np.uint8))
        cv2.imwrite(str(tmp_path / "depth" / f"{image}.png"), np.full((48, 64), 500, np.uint16))
        (tmp_path / "intrinsics" / f"{image}.txt").write_text("60 0 32\n0 60 24\n0 0 1\n")
    data = open_dataset(tmp_path)
    folders = ("rgb", "depth", "")
    assert info_of(str(tmp_path), data).folders == tuple(str(tmp_path / name) for name in folders)
    (tmp_path / "intrinsics" / "0003.txt").unlink()
    data = open_dataset(tmp_path)
    with pytest.raises(InputError):
        data.frame(2)
    assert len(info_of(str(tmp_path), data)) == 3


def test_killed_helper_is_reported_starts_again_and_leaves_nothing(qapp, sample, wait):
    engine = Engine()
    crashes, answers = [], []
    engine.crashed.connect(crashes.append)
    engine.request("open_recording", str(sample), done=answers.append)
    wait(lambda: answers)
    os.kill(engine.pid, signal.SIGSTOP)
    lost: list[str] = []
    for name in ("sent", "replaced", "waiting"):
        engine.request("frame", str(sample), 0, key="frame",
                       failed=lambda _, name=name: lost.append(name))  # fmt: skip
    os.kill(engine.pid, signal.SIGKILL)
    wait(lambda: crashes)
    assert "stopped" in crashes[0].what
    assert lost == ["sent", "waiting"]  # who asked for a frame must not go on showing another
    engine.request("open_recording", str(sample), done=answers.append)
    wait(lambda: len(answers) == 2)
    pid = engine.pid
    engine.close()
    assert not psutil.pid_exists(pid)


def test_shares_of_the_xray_add_up_to_the_pull(engine, sample, wait):
    got = []
    engine.request("open_recording", str(sample), done=got.append)
    wait(lambda: got)
    index = got[0].splits["eval"][0]
    engine.request("frame", str(sample), index, done=got.append)
    wait(lambda: len(got) == 2)
    truth = got[1].truth[0]
    off = PoseData(truth.object_id, truth.R, truth.t + np.array([0.008, -0.004, 0.0]))
    engine.request("xray", str(sample), index, [str(sample / "models")], off,
                   {"perceptual": 0.0}, done=got.append)  # fmt: skip
    wait(lambda: len(got) == 3)
    xray = got[2]
    assert "perceptual" not in xray.terms
    for name in ("mask", "geometry"):
        pull = xray.terms[name]
        length = np.linalg.norm(np.concatenate((pull.rotation, pull.translation)))
        assert pull.share.sum() == pytest.approx(length, rel=0.15)
    # the object was pushed to the right: geometry and mask pull it back to the left
    assert xray.terms["mask"].translation[0] < 0
    total = xray.terms["total"]
    summed = sum(t.translation for n, t in xray.terms.items() if n != "total")
    np.testing.assert_allclose(total.translation, summed, rtol=1e-3, atol=1e-3)


def test_window_process_never_loads_torch(tmp_path):
    """What the first cloud and the first track need is loaded beside the event loop."""
    code = """
import sys, threading
from pathlib import Path
from PySide6.QtCore import QTimer
from studio.shell.app import make_application, open_window
from studio.model.settings import Settings
app = make_application()
late = {"vispy.scene": "", "self6d.datasets.pose_track": ""}
class Spy:
    def find_spec(self, name, path=None, target=None):
        if name in late:
            late[name] = threading.current_thread().name
sys.meta_path.insert(0, Spy())
window = open_window(Settings(Path(sys.argv[1])), restore=False)
def check():
    if not window.built or not set(late) <= set(sys.modules):
        return QTimer.singleShot(100, check)
    print("torch" in sys.modules, "scipy" in sys.modules, "MainThread" in late.values())
    window.close()
    app.quit()
QTimer.singleShot(100, check)
app.exec()
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.ini")],
                          capture_output=True, text=True, timeout=90)  # fmt: skip
    assert done.stdout.split() == ["False", "False", "False"], done.stderr


def test_what_hangs_over_the_window_is_known_by_its_name() -> None:
    recordings = {*BAG_SUFFIXES, *FILM_SUFFIXES, *RGB_SUFFIXES} - {".mkv"}  # a Kinect's is refused
    assert all(glance(Path(f"take{suffix}")) == "recording" for suffix in recordings)
    assert glance(Path("take.mkv")) == ""


def test_a_dropped_bag_is_a_recording(engine, tmp_path, wait):
    shots = [world.shot(n) for n in range(3)]
    path = bags.write(
        tmp_path / "take", "ros1", [s.rgb for s in shots], [s.depth_mm for s in shots], world.K
    )
    assert glance(path) == "recording"
    got = {}
    engine.request("recognise", [str(path)], done=lambda v: got.update(found=v))
    wait(lambda: "found" in got)
    assert [found.kind for found in got["found"]] == ["recording"]
    engine.request("open_recording", str(path), done=lambda v: got.update(info=v))
    wait(lambda: "info" in got)
    assert len(got["info"]) == 3
    assert got["info"].has_depth
    assert bags.DEPTH in got["info"].reason  # the choice of topics is shown
    engine.request("frame", str(path), 2, done=lambda v: got.update(frame=v))
    wait(lambda: "frame" in got)
    np.testing.assert_array_equal(got["frame"].rgb, shots[2].rgb)


def test_the_first_picture_does_not_wait_for_torch(sample):
    code = """
import sys
from pathlib import Path
from pathlib import Path
from studio.engine.desk import Desk
from studio.engine.server import WITHOUT_TORCH
desk, path, models = Desk(print), sys.argv[1], str(Path(sys.argv[1]) / "models")
asked = {"recognise": [[path]], "open_recording": [path], "frame": [path, 0],
         "thumbnails": [path, [0], 32], "load_models": [[models]]}
assert set(asked) <= WITHOUT_TORCH
for method, arguments in asked.items():
    getattr(desk, method)(*arguments)
print("torch" in sys.modules, "numba" in sys.modules)
"""
    command = [sys.executable, "-c", code, str(sample)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split()[-2:] == ["False", "False"]


def test_a_later_run_of_the_same_name_is_judged_and_scored_anew(sample, tmp_path):
    """It was judged by the network of the run that lay there before."""
    run, dataset = tmp_path / "run", open_dataset(sample)
    shutil.copytree(resource("sample/stage1"), run)
    folder = RunFolder.open(run)
    state = folder.load_checkpoint()
    tree = unpack(state.state())
    judges, data = Judges(), (str(sample), [str(run)], "eval")
    step, before = judges.judge(str(run), dataset, [0], 0.3)
    key = scores._key(*data)
    assert before[0].poses
    shutil.rmtree(run / "checkpoints")
    (run / "checkpoints").mkdir()
    tree["network"] = {name: 0 * value for name, value in tree["network"].items()}
    folder.save_checkpoint(state.step, pack(tree))
    same, after = judges.judge(str(run), dataset, [0], 0.9)
    assert (same, after[0].poses) == (step, ())
    assert scores._key(*data) != key


def test_a_cad_file_that_is_written_again_is_read_again(tmp_path):
    store, file = Store(), tmp_path / "part.ply"
    world.cube(file)
    (small,), packed = store.models([str(file)]), store.packed([str(file)])
    assert store.packed([str(file)]) is packed
    trimesh.creation.box((80, 80, 80)).export(file)
    os.utime(file, ns=(0, 0))  # whatever the clock of the disk counts in
    (large,) = store.models([str(file)])
    assert large.diameter == pytest.approx(0.08 * 3**0.5)
    assert small.diameter != pytest.approx(large.diameter)
    assert store.packed([str(file)]) is not packed

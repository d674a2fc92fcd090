"""The command line: help, exit codes, one-line errors, no traceback, nothing overwritten."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import zipfile

import pytest

from self6d import cli, console
from self6d.events import Preparing
from self6d.runs.control import Control, ControlFile
from self6d.runs.folder import RunFolder

COMMANDS = [
    "train", "train-refiner", "adapt", "track", "quick", "optimize", "demo", "evaluate", "predict",
    "export", "label", "rrd", "recolour", "live",
    "launch", "doctor", "sample", "synth", "synth preview", "experiment", "experiment fig3",
    "experiment ablation", "experiment data-share", "experiment bounds",
    "experiment track", "experiment confidence", "experiment colours", "experiment repeat",
    "bench", "bench render", "bench train", "bench adapt", "bench optimize", "bench predict",
    "bench gui", "ctl", "pack", "report-bug",
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command, capsys):
    assert cli.run([*command.split(), "--help"]) == 0
    text = capsys.readouterr().out
    assert f"Usage: self6d-studio {command}" in text


@pytest.mark.parametrize("group", [[], ["bench"], ["experiment"]])
def test_no_command_is_answered_with_the_help(group, capsys):
    """It was one line, "error: Usage: ...", of everything run together."""
    assert cli.run(group) == 2
    told = capsys.readouterr()
    assert cli.run([*group, "--help"]) == 0
    assert told.out == capsys.readouterr().out
    assert "Commands:\n" in told.out
    assert "error" not in told.err


@pytest.mark.parametrize(
    ("option", "told"),
    [
        (
            ["--format", "yolo"],
            "'--format': 'yolo' is not one of 'bop', 'coco', 'csv'. Try --help.",
        ),
        (["--confidence", "2"], "should be less than or equal to 1. Try --help."),
        (["--formt", "bop"], "Try --help."),
    ],
)
def test_a_wrong_option_is_said_in_sentences(option, told, capsys):
    """It was "Value error, 'yolo' ..." and "... equal to 1 Try --help."."""
    assert cli.run(["label", "data", "track", "--out", "labels", *option]) == 2
    text = capsys.readouterr().err
    assert text.endswith(f"{told}\n")
    assert "Value error" not in text
    assert ".." not in text


def test_a_reader_that_has_gone_is_no_defect():
    """`live ... | head` ended with 1, the exit code of a defect."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "self6d.cli", "--help"]
    ended = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (ended.returncode, ended.stderr) == (141, "")


def test_help_names_every_command(capsys):
    assert cli.run(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(command in text for command in COMMANDS if " " not in command)
    assert "..." not in text.split("Commands:")[1]  # no description is cut


@pytest.mark.parametrize("group", ["experiment", "bench"])
def test_help_of_a_group_cuts_no_description(group, capsys):
    assert cli.run([group, "--help"]) == 0
    assert "..." not in capsys.readouterr().out.split("Commands:")[1]


def test_no_listed_command_is_cut_within_its_sentence():
    """A summary ends at the first full stop: of "Fig. 3: ..." nothing but "Fig." was left."""

    def below(command, name):
        for part, one in getattr(command, "commands", {}).items():
            told, whole = one.get_short_help_str(10_000), " ".join((one.help or "").split())
            rest = whole.removeprefix(told.removesuffix(".")).removeprefix(".").strip()
            assert rest != whole or not whole, f"{name} {part}: {told}"
            assert not rest or rest[0].isupper(), f"{name} {part}: {told} | {rest}"
            yield part
            yield from below(one, f"{name} {part}")

    listed = set(below(cli._command(), "self6d-studio"))
    assert {"fig3", "data-share", "recording", "train"} <= listed


def test_every_option_says_what_it_is():
    def bare(command, name):
        yield from (f"{name} {p.name}" for p in command.params if not getattr(p, "help", None))
        for part, one in getattr(command, "commands", {}).items():
            yield from bare(one, f"{name} {part}")

    assert list(bare(cli._command(), "self6d-studio")) == []


def test_help_is_quick():
    import resource

    def children() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    spent = []
    for _ in range(3):  # processor time: the machine may be busy with other things
        before = children()
        subprocess.run([sys.executable, "-m", "self6d.cli", "--help"], capture_output=True)
        spent.append(children() - before)
    assert min(spent) < 0.7


def error_line(capsys) -> str:
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert "Traceback" not in captured.err
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["tarin"], "No such command 'tarin'"),
        (["train"], "Missing option '--models'"),
        (["train", "--models", "x", "--out", "y", "--steps", "0"], "--steps"),
        (["ctl", "x", "explode"], "explode"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_usage_errors(arguments, expected, capsys):
    assert cli.run(arguments) == 2
    assert expected in error_line(capsys)


def test_input_error_is_one_line(tmp_path, capsys):
    (tmp_path / "models").mkdir()
    out = tmp_path / "run"
    assert cli.run(["train", "--models", str(tmp_path / "models"), "--out", str(out)]) == 2
    assert str(tmp_path / "models") in error_line(capsys)
    assert not out.exists()


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        (["--set", "train.stesp=3"], "Did you mean train.steps?"),
        (["--set", "train.steps"], "is not KEY=VALUE"),
        (["--preset", "tyni"], "there is no preset 'tyni'"),
        (["--device", "cuda:99"], "cuda:99"),
        (["--device", "abacus"], "'abacus' is not a device"),
        (["--camera", "nothing.json"], "nothing.json"),
    ],
)
def test_bad_settings_are_found_before_anything_is_made(option, expected, tmp_path, capsys):
    from self6d.paths import resource

    out = tmp_path / "run"
    base = ["train", "--models", str(resource("sample/models")), "--out", str(out)]
    assert cli.run([*base, *option]) == 2
    assert expected in error_line(capsys)
    assert not out.exists()


def test_doctor_tells_the_shell_whether_all_is_well(tmp_path, capsys):
    from self6d.sample.sample import make_sample

    make_sample(tmp_path / "sample", 7, 2, 1, size=(96, 128))
    assert cli.run(["doctor", str(tmp_path / "sample"), "--json", str(tmp_path / "r.json")]) == 0
    own = tmp_path / "sample" / "camera.json"
    before = own.read_bytes()
    assert cli.run(["doctor", str(tmp_path / "sample"), "--json", str(own)]) == 2
    assert own.read_bytes() == before
    assert json.loads((tmp_path / "r.json").read_text())["ok"]
    aloud = capsys.readouterr()
    assert cli.run(["doctor", str(tmp_path / "sample"), "--quiet"]) == 0
    assert capsys.readouterr() == (aloud.out, "")  # quiet: the result alone
    assert cli.run(["doctor", str(tmp_path / "nothing")]) == 2
    assert "there is no such folder" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["predict", "demo", "live", "experiment fig3"])
def test_help_says_what_quiet_leaves(command, capsys):
    assert cli.run([*command.split(), "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "No progress and no notes: only the result, warnings and errors." in text


def test_existing_folder_is_never_touched(tmp_path, capsys):
    from self6d.paths import resource

    (tmp_path / "photo.png").write_bytes(b"mine")
    models = str(resource("sample/models"))
    assert cli.run(["train", "--models", models, "--out", str(tmp_path), "--preset", "tiny"]) == 2
    assert "not empty" in error_line(capsys)
    assert [p.name for p in tmp_path.iterdir()] == ["photo.png"]


def test_unexpected_error_names_the_log(monkeypatch, capsys, tmp_path):
    from self6d.runs import control

    def explode(*_: object) -> None:
        raise ZeroDivisionError("surprise\nof two lines")

    monkeypatch.setattr(control, "send", explode)
    assert cli.run(["ctl", str(tmp_path), "stop"]) == 1
    line = error_line(capsys)
    assert "unexpected ZeroDivisionError: surprise of two lines. Details: " in line
    with open(line.rpartition("Details: ")[2]) as log:
        assert "Traceback" in log.read()


def test_debugging_shows_the_traceback(monkeypatch, tmp_path):
    monkeypatch.setenv("SELF6D_DEBUG", "1")
    with pytest.raises(Exception, match="not a run folder"):
        cli.run(["ctl", str(tmp_path), "stop"])


def test_errors_of_a_real_process(tmp_path):
    """Exit code and standard error as a shell sees them."""
    done = subprocess.run(
        [sys.executable, "-m", "self6d.cli", "ctl", str(tmp_path), "stop"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SELF6D_STATE": str(tmp_path / "state")},
    )
    assert done.returncode == 4
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"error: {tmp_path}: not a run folder")


def test_ctl_reaches_the_run(run_path, capsys):
    RunFolder.create(run_path, "toy", {})
    since = time.time() - 1
    assert cli.run(["ctl", str(run_path), "live", "loss.mask=0.5", "loss.ab=0"]) == 0
    assert cli.run(["ctl", str(run_path), "pause"]) == 0
    assert "no job is running" in capsys.readouterr().err
    control = Control()
    ControlFile(run_path, since).poll(control)
    assert control.paused
    assert control.take_live() == {"loss.mask": 0.5, "loss.ab": 0.0}


@pytest.mark.parametrize(
    "arguments", [["live"], ["live", "a=x"], ["live", "a=nan"], ["pause", "a=1"]]
)
def test_ctl_refuses_nonsense(arguments, run_path, capsys):
    RunFolder.create(run_path, "toy", {})
    assert cli.run(["ctl", str(run_path), *arguments]) == 2
    error_line(capsys)


def test_bug_report_holds_no_images_unless_asked(run_path, tmp_path, capsys):
    import numpy as np

    from self6d.events import Preview

    run = RunFolder.create(run_path, "toy", {"loss": {"mask": 1}})
    run.save_preview(Preview(1, "probe/0", {"rgb": np.zeros((2, 2, 3), np.uint8)}))
    plain, full = tmp_path / "plain.zip", tmp_path / "full.zip"
    assert cli.run(["report-bug", str(run_path), "--out", str(plain)]) == 0
    assert cli.run(["report-bug", str(run_path), "--out", str(full), "--with-images"]) == 0
    with zipfile.ZipFile(plain) as archive:
        names = archive.namelist()
        system = json.loads(archive.read("system.json"))
        assert b"[loss]" in archive.read("run/config.toml")
    assert system["packages"]["torch"]
    assert any(name.startswith("logs/") for name in names)
    assert not any(name.endswith((".npz", ".png", ".jpg")) for name in names)
    with zipfile.ZipFile(full) as archive:
        assert "run/previews/probe-0.npz" in archive.namelist()
    assert cli.run(["report-bug", "--out", str(plain)]) == 2  # never overwrites
    error_line(capsys)


def test_bug_report_does_not_tell_who_wrote_it(tmp_path, monkeypatch):
    """run.json writes the name with its accent as JSON does, and it went out in that form."""
    home = tmp_path / "josé"
    monkeypatch.setenv("HOME", str(home))
    run = RunFolder.create(home / "run", "toy", {"a": str(home)}, {"data": str(home / "data")})
    assert cli.run(["report-bug", str(run.path), "--out", str(tmp_path / "report.zip")]) == 0
    with zipfile.ZipFile(tmp_path / "report.zip") as archive:
        told = {name: archive.read(name).decode() for name in archive.namelist()}
    assert json.loads(told["run/run.json"])["provenance"]["data"] == "~/data"
    assert not [name for name, text in told.items() if "jos" in text]


def test_logs_are_bounded(monkeypatch):
    from self6d import logging as program_log

    monkeypatch.setattr(program_log, "_MAX_BYTES", 2000)
    file = program_log.start_logging(["self6d-studio", "test"])
    for number in range(500):
        program_log.LOGGER.info("line %d %s", number, "x" * 80)
    sizes = [f.stat().st_size for f in file.parent.glob("self6d.log*")]
    assert len(sizes) <= 5
    assert sum(sizes) <= 5 * 2000


WRONG_PATHS = {
    "optimize pose": ["optimize", "DATA", "--frame", "0", "--object", "1", "--init", "gone.json"],
    "adapt data": ["adapt", "gone", "--from", "RUN", "--out", "NEW"],
    "adapt run": ["adapt", "DATA", "--from", "gone", "--out", "NEW"],
    "train models": ["train", "--models", "gone.ply", "--out", "NEW"],
    "train preset": ["train", "--models", "DATA", "--out", "NEW", "--preset", "gone"],
    "predict run": ["predict", "DATA", "--from", "gone"],
    "predict camera": ["predict", "DATA", "--from", "RUN", "--camera", "gone.json"],
    "evaluate run": ["evaluate", "DATA", "gone"],
    "export run": ["export", "gone", "--to", "NEW"],
    "fig3 run": ["experiment", "fig3", "DATA", "--from", "gone", "--out", "NEW"],
    "doctor models": ["doctor", "DATA", "--models", "gone"],
    "recolour poses": ["recolour", "DATA", "--poses", "gone.json", "--out", "NEW"],
    "rrd": ["rrd", "gone", "--out", "new.rrd"],
    "label track": ["label", "DATA", "gone.json", "--out", "NEW"],
    "live network": ["live", "gone", "--source", "0"],
    "live source": ["live", "RUN", "--source", "gone.mp4"],
}


@pytest.mark.parametrize("case", WRONG_PATHS)
def test_an_error_that_needs_no_network_loads_none(case, tmp_path, capsys, monkeypatch):
    """Torch alone takes seconds; a wrong path is told before."""
    monkeypatch.setitem(sys.modules, "self6d.jobs", None)  # importing it would fail
    monkeypatch.setitem(sys.modules, "self6d.doctor", None)
    monkeypatch.setitem(sys.modules, "self6d.experiments", None)
    monkeypatch.setitem(sys.modules, "self6d.live", None)
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.json").write_text("{}")
    (run / "config.toml").write_text("")
    places = {"DATA": str(tmp_path), "RUN": str(run), "NEW": str(tmp_path / "new")}
    assert cli.run([places.get(word, word) for word in WRONG_PATHS[case]]) in (2, 4)
    assert "gone" in error_line(capsys)


def test_an_error_that_needs_no_network_is_quick(tmp_path):
    import resource

    words = ["optimize", str(tmp_path), "--frame", "0", "--object", "1", "--init", "gone.json"]
    spent = []
    for _ in range(3):  # processor time: the machine may be busy with other things
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, "-m", "self6d.cli", *words], capture_output=True, text=True
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert done.returncode == 2
        assert done.stderr == "error: gone.json: pose file is missing. Check the path.\n"
    assert min(spent) < 0.7


@pytest.mark.parametrize("words", [["launch"], ["bench", "gui"]])
def test_without_a_screen_the_window_says_so_in_one_line(words):
    hidden = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    environment = {k: v for k, v in os.environ.items() if k not in hidden}
    done = subprocess.run(
        [sys.executable, "-m", "self6d.cli", *words], env=environment, capture_output=True,
        text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 3
    assert done.stderr.startswith("error: there is no screen here")
    assert len(done.stderr.splitlines()) == 1


def test_what_has_no_count_says_for_how_long(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with console.JobConsole("training") as shown:
        shown(Preparing("building the network", 0, 1))
        (bar,) = shown._bars.tasks
        assert (bar.description, bar.total) == ("training (building the network)", None)
        bar.fields["since"] -= 65
        assert str(console._TimeLeft().render(bar)) == "for 1:05 so far"
        shown(Preparing("painting backgrounds", 32, 48, 2.0))
        assert (bar.fields["count"], bar.total) == ("32/48", 48)
        assert str(console._TimeLeft().render(bar)) == "0:02 left"

"""Words for people at the window: names of curves, and remedies that name buttons, not flags."""

from __future__ import annotations

import re

from self6d.losses.terms import LISTED

GROUPS = {"loss": "loss", "self": "L_self at checks", "health": "health", "lr": "learning rate"}
WORDS: dict[str, tuple[str, str]] = {
    "total": ("total", "What a step makes smaller: all terms, weighted"),
    "self": ("L_self", "Self-supervision, eq. (8) to (11): all its terms, weighted"),
    "pseudo": ("refined poses", "Distance to the poses refined on these frames, metres"),
    "labels": ("own labels", "The network's stage-1 losses on selected poses"),
    "synthetic": ("synthetic", "The network's stage-1 losses on rendered images"),
    "selected": ("selected poses", "Share of the refined poses that are learned from"),
    "settled": ("solved poses", "Share of the poses found that all frames gave together"),
    "mask_iou": ("mask agreement", "Overlap of predicted and rendered mask"),
    "depth_inliers": (
        "depth explained",
        "Share of the depth on the object that the pose explains",
    ),
    "depth_gap_m": ("depth gap", "Median distance between rendering and depth"),
    "trust": ("agreement", "Mask agreement times depth explained, over the poses to find"),
    "found": ("found", "Objects found on the frames of the check"),
    "strikes": ("alarms", "Checks in a row that the run objects to; two end it"),
    "skipped": ("skipped steps", "Steps left out because a value was not finite"),
    "add_recall": ("right poses", "Share of poses within a tenth of the diameter, ADD(-S)"),
    "detection_recall": ("detected", "Share of the objects that are detected"),
}
EQUATIONS = {
    "mask": "eq. (4)", "ab": "eq. (5)", "ms_ssim": "eq. (6)", "perceptual": "eq. (7)",
    "geometry": "eq. (11)",
}  # fmt: skip
WORDS |= {t.name: (t.title, f"{t.compares}; holds {t.holds}; {EQUATIONS[t.name]}") for t in LISTED}


def sentence(text: str) -> str:
    """With a capital first letter, but for a symbol's: fx is no Fx."""
    return text if re.match(r"[fc][xy]\b", text) else text[:1].upper() + text[1:]


def word(name: str) -> str:
    """What people read for a curve's name."""
    return WORDS[name][0] if name in WORDS else name.replace("_", " ")


# factor, suffix and digits of numbers as people read them
SHARE = (100.0, " %", 0)
UNITS = {"depth_gap_m": (1000.0, " mm", 1)} | dict.fromkeys(
    ("mask_iou", "depth_inliers", "trust", "selected", "settled", "add_recall", "detection_recall"),
    SHARE,
)


def unit(name: str) -> tuple[float, str, int]:
    """How a curve's numbers are read: factor, suffix, digits; a count where nothing is known."""
    return UNITS.get(name, (1.0, "", 0 if name in ("found", "strikes", "skipped") else 3))


def meaning(name: str) -> str:
    """What the curve is; "" where its name says it."""
    return WORDS[name][1] if name in WORDS else ""


ENDED = {"done": "", "failed": ": it failed", "stopped": ": it was stopped",
         "interrupted": ": it was interrupted"}  # fmt: skip


def none_of(what: str, run: str, status: str) -> str:
    """That a run which ended so, see `ENDED`, has none of something."""
    return f"{run} has no {what}{ENDED[status]}."


CAD_UNIT = "beside CAD unit (step 1, Doctor)"
# what a remedy for the shell says, and what stands in its place in the window; the first that fits
BUTTONS = tuple(
    (re.compile(shell), window)
    for shell, window in (
        (r"Name the folder that holds it", "Open the folder that holds it"),
        (r"Name one of them, such as", "Open one of them, such as"),
        (r"Name them(:| with) --models", "Open the CAD models (step 1)"),
        (r"Give it as --models", "Open it as CAD model (step 1)"),
        (r"with --models", "with the CAD models open (step 1)"),
        (r"Leave out --resume", "Do not resume it"),
        (r"(with )?--resume", "with Resume beside the run"),
        (r"self6d-studio doctor .*?(?=\. To start anyhow|$)", "the tab Doctor (step 1)"),
        (r"`?self6d-studio predict`?", "Predict under Pose"),
        (r"--no-check", "tick 'start anyhow'"),
        (r"Name the unit: --unit (\w+), or --unit (\w+)", rf"Choose \1 {CAD_UNIT}, or \2"),
        (r", or name a unit all the same: --unit m, cm, mm or inch", ""),  # nothing is open then
        (r"name it: --unit, or models.unit", f"choose it {CAD_UNIT}"),
        (r"(name )?--unit (m|cm|mm|inch)\b", rf"choose \2 {CAD_UNIT}"),
        (r"(with )?--unit( \w+)?", CAD_UNIT),
        (r"Leave out --split", "Choose all frames"),
        (r"with --split", "beside Frames"),
        (r"--device (\w+)", r"Device \1"),
        (r"--set ([\w.]+)=([^\s,;]*[^\s,;.])", r"set \1 to \2 under All settings"),
        (r"--from\b( RUN)?", "start run"),
        (r"with --object", "in the list of objects"),
        (r"with --init|\(--init\)", "under Pose"),
        (r"Leave out --camera", "Leave Camera empty"),
        (r"no --camera is given", "no file stands beside Camera"),
        (r"with --camera", "beside Camera"),
        (r"--source\b", "Source"),
        (r"lower --confidence, or track again", "track again from better poses"),
        (
            r"(Make a track|Track the recording): track .* --out TRACK",
            "Choose the run beside Start under Track, and track the recording",
        ),
        (r"wrote with --out", "wrote"),
        (r"that --out made", "that a run made"),
        (r"with --out", "of its own"),
        (r"(?<!\w)--([a-z][a-z-]*)", r"'\1'"),
    )
)


# what other programs are told to do, which no button does
FOREIGN = re.compile(r"(`(?!self6d-studio|--)[^`]*`|pip install [^,)]*)")


def in_window(text: str) -> str:
    """A message for the shell as the window says it; commands of other programs stay."""
    parts = FOREIGN.split(text)
    return "".join(part if i % 2 else _own(part) for i, part in enumerate(parts))


def _own(text: str) -> str:
    for shell, window in BUTTONS:
        text = shell.sub(window, text)
    return text

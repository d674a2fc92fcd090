"""live: a network on a camera, a video or a recording."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from self6d.commands import early
from self6d.commands import options as opt
from self6d.files import check_live_source


def register(app: typer.Typer) -> None:
    app.command()(live)


def live(
    network: Annotated[Path, typer.Argument(help="Run folder, or folder that export made.")],
    source: Annotated[
        str,
        typer.Option("--source", help="Camera number, realsense, video file, folder or bag."),
    ] = "0",
    camera: Annotated[
        Path | None, typer.Option(help="Camera file, for a camera, a video or bare images.")
    ] = None,
    score: Annotated[float, typer.Option(min=0, max=1, help="Lowest score of a detection.")] = 0.3,
    every: Annotated[
        int, typer.Option(min=1, help="The detector looks only at every Nth image.")
    ] = 1,
    images: Annotated[
        int | None,
        typer.Option(min=1, help="End after this many images (default: at the end of the source)."),
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option("--record", help="Folder to make: the images seen, as a recording."),
    ] = None,
    film: Annotated[
        Path | None, typer.Option("--film", help="Video to make (.mp4), with the poses drawn in.")
    ] = None,
    bag: Annotated[
        Path | None,
        typer.Option("--bag", help="Bag of ROS 2 to make, with Detection3DArray and tf."),
    ] = None,
    device: opt.Device = "auto",
    quiet: opt.Quiet = False,
) -> None:
    """Print poses from a camera as it runs, as lines of JSON."""
    early.check(data=network, camera=camera)
    check_live_source(source)
    from self6d.console import JobConsole, steering

    with JobConsole("live", quiet=quiet) as console, steering(console) as control:
        from self6d import live as rooms

        began, worked, count = 0.0, 0.0, 0
        said = ""
        views = rooms.live(
            network,
            source,
            camera=camera,
            score=score,
            every=every,
            images=images,
            record=record,
            film=film,
            bag=bag,
            device=device,
            listener=console,
        )
        for view in views:
            if not count:  # from here on nothing is loaded any more
                began, worked = time.monotonic(), time.process_time()
            count += 1
            typer.echo(json.dumps(view.row()))
            states = ", ".join(f"{s.name} {s.state.value}" for s in view.seen)
            if states != said and not quiet:
                console.say(f"image {view.number}: {states}")
            said = states
            if control.stopping:
                views.close()  # type: ignore[attr-defined]
                break
        took, processor = time.monotonic() - began, time.process_time() - worked
    if not quiet and count > 1:
        console.say(
            f"{count} images, {(count - 1) / took:.1f} a second, "
            f"{processor / (count - 1):.3f} s of processor each"
        )

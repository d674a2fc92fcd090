"""What networks find on the frames of the open recording, made in the background and kept."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject, Signal

from studio.engine import Engine, Failure
from studio.engine.types import PoseData
from studio.jobs.run_info import brief
from studio.model.layers import Layers, Network
from studio.model.project import Project


class Predictions(QObject):
    """Fills the layers of networks: first the selected frame, then those nearest to it.

    Signals:
        arrived: (Network, frame index). pinnedChanged: the Network that is looked through, or None.
    """

    arrived = Signal(object, int)
    pinnedChanged = Signal(object)
    failed = Signal(object)

    def __init__(
        self, project: Project, layers: Layers, worker: Engine, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self.project, self.layers, self.worker = project, layers, worker
        self.steps: dict[Network, int] = {}  # of the checkpoint that was used
        self._poses: dict[Network, dict[int, list[PoseData]]] = {}
        self._asked = False
        self._number = 0
        self._pinned: Network | None = None
        project.left.connect(self.forget)
        project.recordingChanged.connect(self.forget)
        project.frameChanged.connect(lambda _: self._on_frame())
        layers.listed.connect(self._next)

    def forget(self) -> None:
        """Another recording: nothing is known of it."""
        self._number += 1
        self._asked = False
        self.pin(None)
        self._poses.clear()
        self.steps.clear()
        self.layers.reset()

    def drop(self, run: Path) -> None:
        """A run is gone, and another one may come to be in its folder."""
        if self._pinned is not None and self._pinned.run == run:
            self.pin(None)
        for layer in list(self.layers):
            if layer.network is not None and layer.network.run == run:
                self.layers.remove(layer.key)
        for network in [known for known in self.steps if known.run == run]:
            self._poses.pop(network, None)
            del self.steps[network]

    @property
    def pinned(self) -> Network | None:
        """The network whose poses are put to work on each frame that is visited."""
        return self._pinned

    def pin(self, network: Network | None) -> None:
        """Look through a checkpoint at this frame and at those visited from now."""
        if network != self._pinned:
            self._pinned = network
            self.pinnedChanged.emit(network)
        self._on_frame()

    def poses(self, network: Network, index: int) -> list[PoseData] | None:
        """None while it has not looked at this frame."""
        return self._poses.get(network, {}).get(index)

    def count(self, network: Network) -> int:
        """Frames it has looked at."""
        return len(self._poses.get(network, {}))

    def told(self, network: Network) -> str:
        """The network with the step of its checkpoint, where that is known."""
        step, name = self.steps.get(network, network.step), brief(network.run.name)
        return name if step is None else f"{name} at step {step}"

    def put(self, network: Network, step: int, index: int, poses: list[PoseData]) -> None:
        """Take over what it was found to say elsewhere."""
        if self.steps.get(network, step) != step:  # it has learned on: what it said goes
            self._poses.pop(network, None)
        self.steps[network] = step
        self._poses.setdefault(network, {})[index] = poses
        self.arrived.emit(network, index)
        if network == self._pinned and index == self.project.frame_index:
            self._work_on(network, index)

    def _on_frame(self) -> None:
        index, pinned = self.project.frame_index, self._pinned
        if pinned is not None and self.poses(pinned, index) is not None:
            self._work_on(pinned, index)
        self._next()

    def _work_on(self, network: Network, index: int) -> None:
        """Its poses are those at work, where none was placed or optimised."""
        project = self.project
        origins = [o for (i, _), o in project.origins.items() if i == index]
        poses = self.poses(network, index)
        if poses is not None and all(o.startswith("predicted") for o in origins):
            project.put_prediction(index, poses, f"predicted by {self.told(network)}")

    def _todo(self) -> tuple[Network, int] | None:
        """The next frame to look at: what is in view, then what is near."""
        recording, here = self.project.recording, self.project.frame_index
        if recording is None:
            return None
        networks = self.layers.networks()
        pinned = [self._pinned] if self._pinned is not None else []
        for network in dict.fromkeys((*pinned, *networks)):
            if self.poses(network, here) is None:
                return network, here
        for network in networks:
            known = self._poses.get(network, {})
            if len(known) < len(recording):
                missing = (i for i in range(len(recording)) if i not in known)
                return network, min(missing, key=lambda i: abs(i - here))
        return None

    def _next(self) -> None:
        todo, recording = self._todo(), self.project.recording
        if self._asked or todo is None or recording is None:
            return
        (network, index), number = todo, self._number
        self._asked = True

        def arrived(answer: tuple[int, list[PoseData]]) -> None:
            if number == self._number:
                self._asked = False
                self.put(network, answer[0], index, answer[1])
                self._next()

        def failed(failure: Failure) -> None:
            if number == self._number:
                self._asked = False
                if self._pinned == network:
                    self.pin(None)
                for layer in list(self.layers):
                    if layer.network == network:
                        self.layers.remove(layer.key)
                self.failed.emit(failure)

        self.worker.request("predict", str(network.run), recording.root, index, network.step,
                            done=arrived, failed=failed)  # fmt: skip

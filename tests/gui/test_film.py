"""Films of predictions."""

from pathlib import Path

import cv2

from self6d.datasets import open_dataset
from studio.engine.requests.film import make_film


def test_a_film_gives_way_to_the_next_once_that_is_whole(sample: Path, trained: Path, tmp_path):
    out, recording = tmp_path / "film.mp4", open_dataset(sample)
    out.write_bytes(b"the film before")
    seen: list[tuple[int, int]] = []

    def tell(done: tuple[int, int]) -> None:
        assert out.read_bytes() == b"the film before"
        seen.append(done)

    make_film(out, recording, [str(trained)], [0, 1], tell)
    assert seen == [(1, 2), (2, 2)]
    film = cv2.VideoCapture(str(out))
    size = film.get(cv2.CAP_PROP_FRAME_HEIGHT), film.get(cv2.CAP_PROP_FRAME_WIDTH)
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) == 2
    assert size == recording.frame(0).rgb.shape[:2]
    assert [path.name for path in tmp_path.iterdir()] == ["film.mp4"]

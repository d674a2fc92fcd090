"""One pose on one image: the Pose tab, its numbers, mouse and keys."""

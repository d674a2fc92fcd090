"""A network on a camera: the page, and the process that looks."""

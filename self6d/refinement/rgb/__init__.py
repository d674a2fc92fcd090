"""A learned refiner: an image and the rendering at a pose in, a better pose out. RGB alone."""

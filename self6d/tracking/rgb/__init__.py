"""Tracking from colours alone, where there is no depth: the RGB refiner moves and judges poses."""

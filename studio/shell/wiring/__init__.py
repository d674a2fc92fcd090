"""One file a feature of the working window: which panels, views and jobs hear each other."""

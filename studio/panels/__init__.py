"""The window's panels and pages."""

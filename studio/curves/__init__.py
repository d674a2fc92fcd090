"""Curves of runs and of single optimisations over their steps."""

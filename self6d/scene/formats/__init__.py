"""Mesh formats: what each file type states that the common parser passes over or gets wrong."""

"""The window's panels and pages: data, scores, export, jobs, log, help."""

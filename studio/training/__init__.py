"""The settings of stage 1 and stage 2, live weights, and the Run button."""

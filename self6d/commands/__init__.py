"""Commands of the shell, by subject. They import inside: `--help` must not load torch."""

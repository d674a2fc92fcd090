"""`python -m studio [DATA]...`."""

import sys

from studio.shell.app import main

if __name__ == "__main__":
    sys.exit(main())

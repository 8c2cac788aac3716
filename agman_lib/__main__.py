"""``python -m agman_lib`` and ``accelerate launch -m agman_lib``: the same as ``agman``."""

import sys

from agman_lib.cli.commands import main

if __name__ == "__main__":
    sys.exit(main())

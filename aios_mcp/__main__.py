"""`python -m aios_mcp` is `aios-mcp`."""

import sys

from aios_mcp.cli import main

sys.exit(main())

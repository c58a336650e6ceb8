"""`python -m cli`, what `./pacs` runs once the environment is there."""

import sys

from cli.main import main

sys.exit(main())

"""Launches the studio: ``python app.py``, with the options of ``python -m studio serve``.

Everything else it can be told stands in the environment. vLLM starts child processes that import
this file again, so nothing may happen on import.
"""

import sys

from studio.cli import main

if __name__ == "__main__":
    main(["serve", *sys.argv[1:]])

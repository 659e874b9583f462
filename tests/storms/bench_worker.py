"""A bench in a process of its own, to be killed."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.evals.bench.helpers import engine, measure, spec


def main() -> None:
    """Fill the folder named on the command line, slowly."""
    measure(spec(seeds=(0, 1)), Path(sys.argv[1]), engine(delay_s=0.002))


if __name__ == "__main__":
    main()

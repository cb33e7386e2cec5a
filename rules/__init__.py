"""The helpers of the rules. As a package it comes before another `rules` that is installed."""

import sys
from pathlib import Path

# What rules and scripts share; first, so that no installed package named `common` is taken.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

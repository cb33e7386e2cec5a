"""The helpers of the rules. As a package it comes before another `rules` that is installed."""

"""The demo: a whole installation on one machine, from nothing, on the pocket grid. ``make up``, ``make demo``, ``make
down``."""

"""What was decided, to be read: plans of both engines, what they hold, and what became of a dataset.

Lists: ``plan`` (plans, and all about one), ``left_out`` (what a commit kept after all), ``past`` (what was done to a
dataset). ``cycle``: what plans did, to datasets that a glob matches, of a partition, at sites. ``frame``: what a plan's
files hold, as lists. ``why``: why a dataset is at a site or not.
"""

"""Dynamo's domain: which data stay on disk, in how many copies and where, and how that is made so.

Nothing here imports Airflow: every function can be called from a shell, a notebook or another scheduler.
"""

__version__ = "0.2.0"

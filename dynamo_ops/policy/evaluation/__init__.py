"""Checked conditions on columns: one value a dataset replica or block replica; unknown never selects a deletion.

Call: ``image.lay_out`` (what conditions see), ``evaluate.Evaluator``, ``compile`` (conditions as Polars expressions),
``predicates`` and ``view`` (what changes while replicas are set aside), ``attributes`` (datasets and sites as tables,
and whether attributes are fresh), ``values`` (as text for people).
"""

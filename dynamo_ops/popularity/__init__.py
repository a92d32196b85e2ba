"""How much data are used: accesses a day, and the attributes of datasets that are computed from them (SEMANTICS §5).

Call: ``tasks`` (the DAG's steps); ``aggregate`` replaces days, ``attributes`` runs the producers (``ranks``,
``demand``, ``catalogue``: entry points of ``dynamo_ops.attribute_producers``); ``fold`` keeps the sums of old days.
"""

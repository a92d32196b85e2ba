"""Gates: nothing that a source reported, and no plan, has an effect before its expectations hold.

A new check: its module of ``suites`` (one a gate), and its limit in ``thresholds`` (file ``gates.yaml`` of the
configuration). ``checks`` say what a check is; ``validation`` and ``expectation`` put them to Great Expectations;
``results``, ``figures`` and ``data_docs`` keep what came of it, one of ``verdicts``. Consistency has breakers of its
own.
"""

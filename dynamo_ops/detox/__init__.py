"""Detox: which replicas are deleted in one cycle of one partition (SEMANTICS §3).

``engine`` decides (pure), ``tasks`` are the DAG's steps: plan → gate → (approval) → ``commit``. ``facts`` and
``enforced`` are what a gate must know beyond the plan, ``recheck`` what a commit asks again; ``record`` is a plan read
again, ``history`` what commits did; ``approval`` is shown to the person who may say no, ``report`` tells people,
``testing`` runs tests of policies, ``trial`` tries a policy without an installation.
"""

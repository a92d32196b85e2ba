"""The decisions of one Detox cycle: frames, policy and ``now`` in, a plan out. Pure.

Call: ``plan.plan_deletions``. ``cycle`` is the loop of SEMANTICS §3, ``state`` what it changes, ``site_condition`` On,
When and Until, ``handover`` §3.4, ``guard`` what must stay whatever the policy says (§10), ``evidence`` what explains a
decision later.
"""

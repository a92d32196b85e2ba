"""The decisions of one Dealer cycle: frames, proposals, configuration and a seed in, a plan out. Pure.

Call: ``plan.plan_copies``; ``decide`` looks at the proposals one by one, ``item`` and ``site`` are what it must know of
them and of the destinations (how full). ``plugin`` is what a third party implements, ``config`` what a
partition's file may say, ``placement`` the rules of where data may go.
"""

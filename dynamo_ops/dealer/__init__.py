"""Dealer: which copies are made in one cycle of one partition (SEMANTICS §4).

``plugins`` propose, ``engine`` decides (pure), ``tasks`` are the DAG's steps: propose → plan → gate → ``commit``;
``proposals`` lie between the first two, ``detox_cycle`` is what plugins see of the last Detox cycle, ``record`` a
stored plan as it is read, ``history`` what commits did, ``report`` tells people.
"""

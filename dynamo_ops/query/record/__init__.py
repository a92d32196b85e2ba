"""What was taken down by those who ask, check and count, to be read.

Lists: ``request`` (for copies and deletions), ``audit`` (who did what), ``event`` (what happened), ``errand`` (what a
run does for somebody), ``consistency`` (checks of storages, and what they found), ``gate`` (results of gates),
``vanished`` (what sources do not tell any more, and datasets with a bad record), ``invalidation`` (what was declared
invalid), ``quota`` (what there is, and how it changed). ``popularity`` (accesses and jobs by day),
``freshness`` (how old what we know is), ``partition_use`` (quotas, and how full they are), ``forecast`` (until when a
site is full).
"""

"""Reads that the CLI and reports share, and REST and pages will. Nothing here changes anything.

``decision`` (plans), ``movement`` (subscriptions, copies, deletions), ``record`` (what was asked, checked, noted) are
rooms of their own. Here is what is in the catalogue and where.

Lists (``paging.listing``): ``dataset``, ``contents`` (blocks and files of a dataset), ``replica`` (what is where, by
dataset or block), ``only_here`` (what no other site has), ``group`` (what one owns). Cards and look-ups:
``dataset_card``, ``site_card``, ``locate`` (sites and PFNs of files), ``usage`` (sums, now and by day).
Call: ``status`` (subscriptions in figures), ``explanation`` (why a subscription stands where it
stands, and where a file is), ``waiting`` (why the parts of a request wait), ``names`` (for a shell that completes
them).
"""

"""What the gates expect, one module for each kind of data: ``sites``, ``metadata``, ``files``, ``listing`` (of files as
a whole), ``accesses``, ``freshness``, ``plans``. ``aside``: which datasets are set aside, and the others merged;
``rows``: pieces of SQL that several use.
"""

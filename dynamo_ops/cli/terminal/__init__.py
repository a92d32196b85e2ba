"""What every command shares, so that all of them speak one way.

``options`` (spelled and read once; ``completion`` offers names), ``inventory`` (the database), ``confirm`` (asks
before what destroys), ``usage`` (words that are no command), ``page`` (where output goes: ``say``, ``warn``, the
pager), ``tables`` (the one table, JSON), ``lists`` (of any length: a table of the first rows, NDJSON, CSV), ``cells``
(one value: sizes, times, counts), ``progress``, ``document`` (JSON that people hand in).
"""

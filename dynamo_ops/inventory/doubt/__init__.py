"""Single copies that are bad, though their block is there (SEMANTICS §10): who says so, and what becomes of them.

Call: ``declare`` (a person says it: bad, suspicious, or good after all), ``suspect`` (transfers say it, once enough of
them have failed), ``recovery`` (a copy is fetched again from a good one, or left to a person; consistency repairs take
the same way). ``settings``: how many are enough.
"""

"""One copy, as FTS's copier makes it: ``transfer`` moves the bytes and verifies, in FTS's order and words.

``dav`` and ``xroot`` speak to storages, ``outcome`` is what they answer, ``prepared`` what gfal2 makes of a tape's
answers over root://, ``names`` what becomes of URLs on the way, ``refusal`` who refuses us.
"""

"""Lists that are read in pages or as a stream: what all of them have in common, whatever they list.

Call: ``listing`` (a list, and a page or all rows of it), ``condition`` (names and globs as conditions on an indexed
column), ``cursor`` (where a page ended, signed), ``stream`` (rows as NDJSON or CSV, piece by piece), ``frame`` (all
that for rows of a frame).
"""

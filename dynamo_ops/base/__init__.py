"""What everything else stands on and that knows nothing of data: errors, settings, units, times, texts, globs, TLS.

Call: the tree in ``errors`` (raise ours, never another library's), ``settings.settings()``, ``units.size_text``,
``times.parse_time``, ``glob`` (the one reading of shell globs, for Python, Polars and PostgreSQL), ``text.near``
(the names that somebody may have meant).
"""

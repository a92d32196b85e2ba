"""What everything else stands on and that knows nothing of data: errors, settings, units, times, texts, globs, paths,
HTTP.

Call: the tree in ``errors`` (raise ours, never another library's), ``settings.settings()`` (of the
``installation`` that is found; ``config_file``: reading a file, and its faults), ``units.size_text``,
``times.parse_time``, ``glob`` (the one reading of shell globs, for Python, Polars and PostgreSQL), ``text.near``
(the names that somebody may have meant), ``directory.overlap`` (of two paths of this machine). The one way out to HTTP:
``session.RemoteSession``, ``remote`` (which error an answer or a failure is), ``redirect`` (where a call may be sent
on), ``tls.Credentials``.
"""

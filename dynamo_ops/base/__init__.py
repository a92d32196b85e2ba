"""What everything else stands on and that knows nothing of data: errors, settings, units, times, texts, globs, paths,
spans; HTTP has a room in it.

Call: the tree in ``errors`` (raise ours, never another library's), ``settings.settings()`` (of the
``installation`` that is found; ``config_file``: reading a file, and its faults; ``patience``: how long what fails is
tried), ``units.size_text``, ``times.parse_time``, ``glob`` (the one reading of shell globs, for Python, Polars and
PostgreSQL), ``text.near`` (the names that somebody may have meant), ``regex.bounded`` (what others write, for Python's
engine), ``unpack`` (compressed data of others, no further than is honest), ``directory.overlap`` (of two paths of this
machine), ``spans.span`` (a part of a long act, told to OpenTelemetry where Airflow's traces are on).
"""

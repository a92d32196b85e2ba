"""How answers become rows, shared by all sources; a fault names the record and where it stands.

``http`` (a service), ``illness`` (whether it is ill, by what it answered), ``drop`` (files that others leave),
``address`` (what may be shown of one), ``documents`` (JSON documents one behind the other), ``records`` and ``columns``
(JSON records, columns of the right kind), ``bad_records`` (the datasets of which one cannot be read).
"""

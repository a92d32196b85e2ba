"""How answers become rows, shared by all sources; a fault names the record and where it stands.

``http`` (a service), ``drop`` (files that others leave), ``address`` (what may be shown of one), ``records`` and
``columns`` (JSON records, columns of the right kind).
"""

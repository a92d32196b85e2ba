"""How answers become rows: addresses, HTTP, drops of files, JSON records, columns of the right kind. Shared by all
sources; a fault names the record and where it stands.
"""

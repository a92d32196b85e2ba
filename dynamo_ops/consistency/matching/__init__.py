"""Two lists of files, as long as a storage has them, and what differs between them (CONSISTENCY §3).

A list is a folder: ``writer`` takes its lines as they come, ``file_list`` reads them again batch by batch, ``manifest``
is what it says of itself and the mark that it is whole. Each line has a ``key`` of its name and size, kept in
``partitions`` by its first bits. ``suspects``: which keys are on one side only. ``differences``: the names of these,
and only these, joined exactly.
"""

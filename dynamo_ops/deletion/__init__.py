"""Delete subscriptions become deletions at the storages: recover → queue → claim → delete → empty directories.

One function a task in ``tasks``; ``queue`` makes batches of one site each, ``claim`` judges each chunk once more and
claims it (SEMANTICS §10), ``same_directory`` sees where links and mounts make two sites one, ``execute`` deletes and
records it, ``waiting`` takes back what has had to stay for too long, ``directories`` cleans up. The limits are
``DeletionSettings``.
"""

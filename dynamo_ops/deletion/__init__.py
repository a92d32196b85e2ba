"""Delete subscriptions become deletions at the storages: recover → queue → execute → empty directories.

One function a task in ``tasks``; ``queue`` makes batches of one site each, ``execute`` deletes and records in chunks,
``directories`` cleans up, ``limits`` say how much.
"""

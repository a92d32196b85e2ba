"""The configuration folder as a whole: what is wrong in any of its files, said at once.

Call: ``check.check_configuration`` (every file by itself), ``inventory.check_names`` (sites and groups that the
inventory does not know). ``pools`` is Airflow's file. Commands and DAGs read only what they need, by the readers of
each room.
"""

"""The configuration folder as a whole: what is wrong in any of its files, and which settings there are.

Call: ``check.check_configuration`` (every file by itself), ``inventory.check_names`` (sites and groups that the
inventory does not know), ``reference.markdown`` (the page docs/settings.md), ``new_installation`` (writes the files of
one). ``pools`` is Airflow's file. Commands and DAGs read only what they need, by the readers of each room; ``keep`` is
for housekeeping, which is about several.
"""

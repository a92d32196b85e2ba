"""Runs of Airflow, as the API tells them something: ``start`` (of what is too heavy for a request), ``form`` (a plan
that a run asks about was decided here)."""

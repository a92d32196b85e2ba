"""The pages as people see them: a real browser, a real api-server of Airflow, an installation made by our functions."""

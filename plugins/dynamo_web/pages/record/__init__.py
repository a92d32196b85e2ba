"""What was taken down: ``gates``, the ``audit``, ``errands``, and what a run of Airflow did (``runs``)."""

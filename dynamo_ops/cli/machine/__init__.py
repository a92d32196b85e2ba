"""Commands about the machine where one is: ``init``, ``config``, ``db`` and ``airflow`` of its installation, ``login``
to a server elsewhere."""

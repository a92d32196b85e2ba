"""PostgreSQL: the connection, the wheel's own server, the schema with its migrations, and every lock by name.

Call: ``connect.connect`` (the installation's database) and ``connect.create`` (a new one; ``embedded`` where no URL is
given), ``connection.Database`` (transactions, snapshots, frames in and out; ``reading`` by ADBC), ``within.Within``
(transactions that are parts of an open one), ``migrate.upgrade``, ``locks`` (all advisory locks, in the order in which
they are taken). Small helpers of statements: ``rows``, ``upsert``,
``words`` (an enum's words in SQL). A new table or column: its module of ``schema`` and a migration; no other room makes
or alters one. (A fact of datasets for policies needs neither: ``inventory.properties``.)
"""

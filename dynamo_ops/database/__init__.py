"""PostgreSQL: the connection, the wheel's own server, the schema with its migrations, and every lock by name.

Call: ``connect.connect`` (the installation's database), ``connection.Database`` (transactions, snapshots, frames in
and out), ``migrate.upgrade``, ``locks`` (advisory locks: all of them, with the order in which they are taken). Tables
are described in ``schema``; no other room makes or alters one.
"""

"""What commands ask of the database of their installation: a module a noun, a function an act. ``cli.afar`` has the
same for who is elsewhere; ``cli.terminal.way`` says which is meant.

``access``, ``catalogue``, ``group``, ``lock``, ``pause``, ``plan``, ``policy``, ``quota``, ``record``, ``request``,
``site``, ``transfers``; ``listed`` has long lists. All that they answer is plain: dictionaries and lists of them,
texts, numbers, datetimes in UTC. ``by`` is who says that they do it: ``--by``, or None for the login of the shell.
"""

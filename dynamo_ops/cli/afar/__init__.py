"""What commands ask of a server, over REST: the doubles of ``cli.here``, function by function. Who is elsewhere needs
``requests`` for it, and nothing of what works on a database.

``access``, ``catalogue``, ``group``, ``lock``, ``pause``, ``plan``, ``policy``, ``quota``, ``record``, ``request``,
``site``, ``transfers``; ``server`` has the calls, and what comes back. Who does it is whose the token is: ``by`` must
be None.
"""

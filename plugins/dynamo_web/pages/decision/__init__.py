"""What is asked for and decided: ``plans``, their ``decisions`` row by row, ``trials`` of other policies, and requests
(``requested``)."""

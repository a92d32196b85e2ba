"""Sites: their status, who says so, what they can be used for now, how their files are named, how much may be there.

Call: ``lookup`` (the one look-up by name or glob), ``status`` (merged from sources), ``override`` and ``downtime`` (by
hand), ``usable`` (readable, writable now, as SQL), ``endpoint`` (where its files are, and what its source reports
instead), ``place`` (that in one spelling), ``shared`` (two names of one storage), ``mapping`` (LFN → PFN), ``chains``
(whether that is one-to-one), ``ambiguous`` (sites where it may not be), ``quota``,
``evacuation`` (a site is given up).
"""

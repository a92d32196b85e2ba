"""How much data are used: accesses a day, and the attributes of datasets that are computed from them (SEMANTICS §5)."""

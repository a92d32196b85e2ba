"""Figures for Prometheus: how much waits and since when, how full it is, how old what we know is, what gates said.

Call: ``overview`` (of all sites together, without a name), ``named`` (by site, partition and source), ``metric`` (one
figure and its samples).
"""

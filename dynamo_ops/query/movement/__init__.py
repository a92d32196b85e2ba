"""Files that move and go, to be read.

Lists: ``subscription`` (what shall come or go; and why it stands where it stands), ``attempt`` (single copies and
deletions: under way, and ended). ``figures``: how many stand where. ``series``: what
ended by hour, link and error.
"""

"""Files that move and go, to be read.

Lists: ``subscription`` (what shall come or go; and why it stands where it stands), ``attempt`` (single copies and
deletions: under way, and ended), ``bad_replica`` (copies that are called bad or suspicious). ``figures``: how many
stand where. ``series``: what ended by hour, link and error.
"""

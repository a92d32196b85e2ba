"""Where an endpoint puts its files, spelled in one way: two spellings of one place are one place (SEMANTICS §10).

What is not told for certain (``..``, a percent sign) is taken for as wide as it may be. What no spelling tells stays
unknown: two names of one host, links inside a storage.
"""

from __future__ import annotations

# What is put before names: a prefix, or what the last replacement of each chain begins with.
_BEGINS = r"""
    SELECT site_id, protocol, prefix AS begin FROM site_endpoints
    WHERE coalesce(jsonb_typeof(mapping), 'null') <> 'array' OR mapping = '[]'
    UNION ALL
    SELECT site_id, protocol, regexp_replace(chain -> -1 ->> 1, '[^/]*[$\\].*$', '')
    FROM site_endpoints, jsonb_array_elements(CASE jsonb_typeof(mapping) WHEN 'array' THEN mapping END) AS chain"""

_SPLIT = rf"""
    SELECT site_id, protocol, lower(substring(begin FROM '^[^:/]*')) AS scheme,
           regexp_replace(substring(begin FROM '^[^:/]*://([^/?#]*)'), '^.*@', '') AS authority,
           substring(begin FROM '^[^:/]*://[^/?#]*([^?#]*)') AS path, begin !~ '[%?#]|/\.\.(/|$)' AS is_clear
    FROM ({_BEGINS}) AS begins WHERE begin LIKE '%://%'"""

# No dots, no double slashes: "/./" and "//" are "/". From a name in doubt on, anything may follow; from ".." on, not
# even what stands before it is known.
_PATH = r"""CASE WHEN path ~* '(^|/)(\.|%2e){2}(/|$)' THEN '' ELSE
    regexp_replace(regexp_replace(path, '(/\.?)+(?=/|$)', '', 'g'), '/[^/]*%.*$', '') END"""

_HOST = """CASE WHEN scheme = 'file' THEN ''
    ELSE rtrim(lower(regexp_replace(authority, ':[0-9]*$', '')), '.') END"""

_PORT = """CASE WHEN scheme = 'file' THEN '' ELSE coalesce(nullif(
    ltrim(substring(authority FROM ':([0-9]+)$'), '0'),
    CASE WHEN scheme IN ('http', 'dav') THEN '80' WHEN scheme IN ('https', 'davs', 's3') THEN '443'
         WHEN scheme IN ('root', 'roots', 'xroot', 'xroots') THEN '1094' ELSE '' END), '') END"""

PLACES = f"""
    SELECT site_id, protocol, host || ':' || port || path AS place, host || path AS area, is_clear
    FROM (SELECT site_id, protocol, {_HOST} AS host, {_PORT} AS port, {_PATH} AS path, is_clear
          FROM ({_SPLIT}) AS parts) AS clean"""
"""(site_id, protocol, place, area, is_clear) of each endpoint that says where: host, port and path without a slash at
the end. ``area`` is the place without its port: of two protocols the ports say nothing."""

"""A synthetic world that stands in for data nobody may pass on: everything in it is drawn, and says so.

`regions` and `export`: tiles of water occurrence. `circles`: lakes that show whether a map is true to scale. `scenes`:
photos of seven classes. `views`: places from above and from within.
"""

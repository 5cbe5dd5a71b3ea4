"""The HTTP surface: the same functions as everywhere else, by ids, with errors as ``application/problem+json``.

``app`` puts it together · ``problems`` errors as a client meets them · ``files`` the assets of items · ``raster``
pictures and values · ``tiles`` map tiles of cubes · ``health`` whether the process lives · ``guard`` who may ask ·
``locations`` places by name.
"""

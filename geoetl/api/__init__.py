"""The HTTP surface: the same functions as everywhere else, by ids, with errors as ``application/problem+json``.

``app`` puts it together · ``edge`` the layers around the routes and their order: ``observe`` ids, logs and figures,
``headers`` for browsers, ``problems`` errors as a client meets them, ``limits`` of requests, ``apart`` where the heavy
ones are handled; ``connections`` limits of what comes before a request · ``docs`` the description as pages · ``files``
the assets of items · ``raster`` pictures and values · ``tiles`` map tiles of cubes · ``health`` whether the process
lives and can work · ``guard`` who may ask · ``locations`` places by name, ``boundaries`` countries, states, counties.
"""

"""Heavy requests are handled in a process of their own, so that light ones never wait for the interpreter's lock.

``frames`` what the two processes say to each other · ``requests`` the server's side: an ASGI application that has them
answered there · ``process`` the other side: the process, which ends with the server.

What a light request waits for on a busy server is its turn: for a core, and for the lock of the interpreter.  The
process has a lock of its own, and the kernel lets it go after the server.
"""

from geoetl.api.apart.requests import Apart, Launch

__all__ = ["Apart", "Launch"]

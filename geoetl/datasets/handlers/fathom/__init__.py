"""Flood depths of FATHOM v3, out of a folder that somebody puts licensed files into; nothing is asked over HTTP.

``names`` what a file's name says · ``config`` what is wanted · ``drop`` what lies in the folder · ``tiles`` whether a
file is what its name says · ``stack`` one raster of many · ``describe`` what is said of it · ``memory`` what it was
made of · ``handler`` all of it in order.

Depths come in centimetres, with two numbers that are none: -32768 where there are no data, and -32767, which those
who use the data take for permanent water. In the rasters both are no data: a raster has one number for that, and
neither may ever be taken for a depth. The pixels are int16 in centimetres still, with a scale of 0.01 and the unit
"m", so that every reader that knows scales gives metres.
"""

from geoetl.datasets.handlers.fathom.handler import Fathom

__all__ = ["Fathom"]

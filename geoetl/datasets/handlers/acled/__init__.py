"""Events of political violence and protest from ACLED's API: fetched by what changed, now and then as a whole.

``handler`` check, fetch, prepare · ``config`` what it is told and remembers · ``api`` questions and answers · ``sync``
pages, one after the other, until they are all of one state of the source · ``bronze`` pages as they came · ``events``
columns · ``merge`` what is new into what is there · ``style`` how events are drawn.

Source: https://acleddata.com/acled-api-documentation
"""

from geoetl.datasets.handlers.acled.handler import Acled

__all__ = ["Acled"]

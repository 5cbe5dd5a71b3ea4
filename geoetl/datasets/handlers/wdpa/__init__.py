"""The World Database on Protected Areas, with or without other effective conservation measures (WDPA, WDOECM, WDPCA).

``handler`` the handler · ``source`` where a release is · ``archive`` what its file holds · ``columns`` the columns that
every release has.

Source: https://www.protectedplanet.net; UNEP-WCMC, User Manual for the World Database on Protected Areas.
"""

from geoetl.datasets.handlers.wdpa.handler import Wdpa

__all__ = ["Wdpa"]

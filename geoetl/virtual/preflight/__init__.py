"""What references of some files would cost and get wrong, found out before any are made and without reading data.

References carry one shape of chunk, one chain of codecs and one set of attributes for all files. Every file is looked
at for itself, then all are compared: what differs is named with the file, the variable and the attribute.

``decide`` the verdict · ``notes`` what was noticed, folded into findings · ``storage`` one file by itself · ``form``
and ``content`` of arrays compared · ``texts`` how both are told · ``clocks`` times, ``gaps`` between them · ``groups``
files that go together · ``chunks`` what reads slowly · ``cost`` estimates · ``model`` the result
"""

from geoetl.virtual.preflight.decide import preflight, unreadable
from geoetl.virtual.preflight.model import Cost, Effort, Preflight, Verdict

__all__ = ["Cost", "Effort", "Preflight", "Verdict", "preflight", "unreadable"]

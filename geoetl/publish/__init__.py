"""Publishing: what becomes public is exactly what was approved, and it can be taken back.

``model`` releases, states, and what may happen to them · ``tables`` of them · ``steps`` what is asked for, and whether
a release allows it · ``transition`` the one way in which a release changes · ``repository`` releases as rows ·
``audit`` the log of what was done and refused · ``verification`` of it · ``anchor`` its head, kept elsewhere.

``publishing`` all that is offered, as `Platform.publish`; ``parts`` what it is made of · ``assembling`` what would
become public of an item, with ``collecting``, ``documents`` and ``contained`` · ``bringing`` the stages of the pipeline
``publish``, with ``copiers``, ``delivery``, ``probing`` (by its child ``looking``) and ``index`` · ``withdrawal`` what
goes · ``withdrawing`` the stages of the pipeline ``withdraw`` · ``keeping`` what an undo needs, and its purge · ``due``
what the clock brings about, ``scheduled`` · ``notifications`` who is told, over ``channels``, by ``messages`` ·
``comparison`` with what is public already · ``needed`` what the janitor leaves.
"""

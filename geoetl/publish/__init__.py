"""Publishing: what becomes public is exactly what was approved, and it can be taken back.

``model`` releases, states, and what may happen to them · ``tables`` of them · ``steps`` what is asked for, and whether
a release allows it · ``transition`` the one way in which a release changes · ``repository`` releases as rows ·
``audit`` the log of what was done and refused · ``verification`` of it · ``anchor`` its head, kept elsewhere.
"""

"""What every page uses.

``map``, ``lists``, ``code_block``, ``address`` compiled components (``build`` compiles them) · ``basemap`` land and
borders without a network · ``theme`` colours and type · ``background`` long work beside the page · ``turns`` newer
answers replace older ones · ``warm`` slow modules loaded ahead · ``delivery`` how pictures reach the browser ·
``problem`` errors as a person is told.
"""

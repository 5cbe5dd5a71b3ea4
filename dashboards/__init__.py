"""The dashboard: pages in the same process and at the same address as the API.

``app`` puts it together · ``explore`` find and look at data · ``shared`` the map, the lists, the theme, the way between
a model and its page.
"""

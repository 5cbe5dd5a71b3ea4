"""What tests of this project and of plug-ins need: random styles, an outside source, a Data Factory, and suites.

The suites: `datasets` for handlers of managed datasets, `copiers` for copiers of what is published.
"""

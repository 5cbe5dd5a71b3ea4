"""Pipeline runs: a run executes a notebook, a stage is one of its steps, a task one element of a fan-out.

``pipeline`` finds pipelines and checks their parameters · ``model`` what a run is · ``repository`` rows in, rows out ·
``stage`` checkpoints and progress inside a run · ``notebook`` executes a pipeline with papermill · ``kernel`` the
limited process it runs in · ``spread`` tasks in processes of this machine · ``fanout`` tasks on Dask workers ·
``cluster`` the Dask client of a run · ``deployments`` kinds of Dask clusters.
"""

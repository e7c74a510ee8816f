"""The oracle node: hears of jobs, runs them, delivers, and loses nothing on the way.

``ingest.py`` turns chain events into journal rows, ``pipeline.py`` takes each job one persisted step further,
``service.py`` repeats both until it is told to stop.
"""

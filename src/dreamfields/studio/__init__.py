"""The studio: a local page that shows a run, live and finished."""

"""Looking on: a local page that shows a run while it is made and when it is finished."""

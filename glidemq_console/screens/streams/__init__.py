"""Live tokens: the wall of panes, one pane, saving."""

"""Review of a run: a small web server on one's own machine, and its page, over one run folder."""

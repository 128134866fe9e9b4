"""The review page: a small server on the person's own machine, over one run folder."""

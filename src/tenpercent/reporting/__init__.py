"""Output of a run for people: tables, figures, galleries and the report."""

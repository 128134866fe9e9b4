"""What a person sees of a run: tables, figures, galleries and the report."""

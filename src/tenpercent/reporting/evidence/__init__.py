"""What training runs have shown: statistics, sentences, tables and figures, from the table in the run folder."""

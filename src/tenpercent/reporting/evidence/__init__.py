"""Results of training runs: statistics, sentences, tables and figures, from the table in the run folder."""

"""Lists of rows: their columns, how a row is drawn, moving and marking."""

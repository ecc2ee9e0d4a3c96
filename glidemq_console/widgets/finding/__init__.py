"""Find a text in what widgets show: where it stands, how it is lit, and the way from one place to the next."""

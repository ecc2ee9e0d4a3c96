"""The filter language: what a person types to find jobs, read once and tested on any number of rows."""

"""Flows: the list, the page of one, topping up its budget."""

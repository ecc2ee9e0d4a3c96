"""What waits for a person: the list, the card, deciding, editing, the audit."""

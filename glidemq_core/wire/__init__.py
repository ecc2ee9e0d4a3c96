"""What is stored, without IO: key names, payloads, numbers, entry ids, JSON rules."""

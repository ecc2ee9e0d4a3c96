"""Foreign and own text: made safe, masked, measured, formatted, parsed and wrapped."""

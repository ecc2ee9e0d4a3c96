"""What people type: `:` commands, `/` filters, and the palette."""

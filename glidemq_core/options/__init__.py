"""What callers may ask for, validated before anything is sent."""

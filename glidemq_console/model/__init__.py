"""What the console knows: pure data and functions, without IO."""

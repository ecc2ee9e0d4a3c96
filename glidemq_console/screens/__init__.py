"""The screens: one file each; they draw snapshots and say what they need, they never fetch."""

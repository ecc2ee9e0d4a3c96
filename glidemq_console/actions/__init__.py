"""What can be done: one file of actions a screen, what actions know of the app and of the screens."""

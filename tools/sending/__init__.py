"""This wing prepares a message to leave: its name, its settings, its protected links, its payload for the Web API."""

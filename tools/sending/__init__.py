"""What a message needs on its way out: names, settings, protected links, and the Web API."""

"""Programs for the people who work on Pilothouse. Nothing here is installed."""

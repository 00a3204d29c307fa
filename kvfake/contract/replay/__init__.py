"""What an app and a real server say to each other: kept, and replayed on the double."""

"""What takes minutes: `make soak` shows the promises of docs/reliability.md with their figures, a table of what was measured."""

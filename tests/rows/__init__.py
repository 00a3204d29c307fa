"""Services that are wrong on purpose in each row of the fact list, and the tests that show each."""

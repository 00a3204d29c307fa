"""The rows of the fact list, each as a check that looks at the wire alone, and services that are wrong in it on purpose."""

"""What is right? Pure values and functions, the constitution and its Rego; no I/O, no clock."""

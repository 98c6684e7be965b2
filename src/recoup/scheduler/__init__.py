"""When jobs run: due times, what was done of them, the loop that starts them, and the files that let a machine call it."""

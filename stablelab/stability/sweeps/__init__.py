"""Many runs: their grid, their execution, the file that keeps them, and maps of heads trained at once."""

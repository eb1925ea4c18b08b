"""Studies that take too long for a page: a module each, which makes what is kept in ``kept`` anew, and reads it."""

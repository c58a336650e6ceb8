"""Who is measured: each brings up its processes in a directory of its own and says where it listens."""

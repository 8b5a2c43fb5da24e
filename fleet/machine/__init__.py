"""A machine's side: its Redis, its relay, its workers, all kept alive."""
